package modern

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"strings"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

// picture draws what has the look of a logo, of a text that was photographed from the screen, of a photo or of a flyer.
func (c *composer) picture(kind string) []byte {
	size := map[string]image.Point{"logo": {160, 48}, "screen": {600, 460}, "photo": {320, 240}, "flyer": {480, 640}}[kind]
	m := image.NewRGBA(image.Rectangle{Max: size})
	ink := color.RGBA{byte(c.random.IntN(200)), byte(c.random.IntN(200)), byte(c.random.IntN(200)), 255}
	draw.Draw(m, m.Bounds(), image.White, image.Point{}, draw.Src)
	switch kind {
	case "photo":
		return c.photo(m)
	case "logo":
		c.bars(m, image.Rect(8, 8, 150, 40), 14, ink)
	default:
		draw.Draw(m, image.Rect(0, 0, size.X, 60), image.NewUniform(ink), image.Point{}, draw.Src)
		c.bars(m, image.Rect(30, 90, size.X-30, size.Y-120), 10, color.RGBA{60, 60, 60, 255})
		draw.Draw(m, image.Rect(size.X/3, size.Y-90, size.X*2/3, size.Y-50), image.NewUniform(ink), image.Point{}, draw.Src)
	}
	var b bytes.Buffer
	_ = png.Encode(&b, m)
	return b.Bytes()
}

// bars are lines of words that nobody can read.
func (c *composer) bars(m draw.Image, in image.Rectangle, height int, ink color.Color) {
	for y := in.Min.Y; y+height < in.Max.Y; y += height * 2 {
		for x := in.Min.X; x < in.Max.X-40; {
			w := 12 + c.random.IntN(60)
			draw.Draw(m, image.Rect(x, y, min(x+w, in.Max.X), y+height-3), image.NewUniform(ink), image.Point{}, draw.Src)
			x += w + 6
		}
	}
}

func (c *composer) photo(m *image.RGBA) []byte {
	a, b := 3+c.random.IntN(5), 2+c.random.IntN(7)
	for x := range m.Bounds().Dx() {
		for y := range m.Bounds().Dy() {
			m.Set(x, y, color.RGBA{byte(x*a/7 + y), byte(y*b/5 + x/3), byte((x - y) * a / 9), 255})
		}
	}
	var out bytes.Buffer
	_ = jpeg.Encode(&out, m, nil)
	return out.Bytes()
}

// qr is a QR code, one module a cell, with a quiet zone: ISO/IEC 18004.
func (c *composer) qr(url string) *gozxing.BitMatrix {
	bits, err := qrcode.NewQRCodeWriter().Encode(url, gozxing.BarcodeFormat_QR_CODE, 0, 0, nil)
	if err != nil {
		panic(err) // a template's URL that no code can hold
	}
	return bits
}

func (c *composer) qrImage(url string, scale int) image.Image {
	bits := c.qr(url)
	m := image.NewGray(image.Rect(0, 0, bits.GetWidth()*scale, bits.GetHeight()*scale))
	for x := range m.Bounds().Dx() {
		for y := range m.Bounds().Dy() {
			if !bits.Get(x/scale, y/scale) {
				m.SetGray(x, y, color.Gray{Y: 255})
			}
		}
	}
	return m
}

func (c *composer) qrPNG(url string) []byte {
	var b bytes.Buffer
	_ = png.Encode(&b, c.qrImage(url, 5))
	return b.Bytes()
}

func (c *composer) qrBase64(url string) string {
	return base64.StdEncoding.EncodeToString(c.qrPNG(url))
}

// qrTable is the code as cells with a colour.
func (c *composer) qrTable(url string) string {
	bits := c.qr(url)
	var b strings.Builder
	b.WriteString(`<table cellspacing="0" cellpadding="0" border="0" style="border-collapse:collapse">`)
	for y := range bits.GetHeight() {
		b.WriteString("<tr>")
		for x := range bits.GetWidth() {
			ink := "#ffffff"
			if bits.Get(x, y) {
				ink = "#000000"
			}
			fmt.Fprintf(&b, `<td width="4" height="4" bgcolor="%s"></td>`, ink)
		}
		b.WriteString("</tr>\n")
	}
	return b.String() + "</table>"
}

// qrText is the code in block letters, two modules a letter.
func (c *composer) qrText(url string) string {
	bits := c.qr(url)
	var b strings.Builder
	for y := 0; y < bits.GetHeight(); y += 2 {
		for x := range bits.GetWidth() {
			upper, lower := bits.Get(x, y), y+1 < bits.GetHeight() && bits.Get(x, y+1)
			b.WriteString(map[[2]bool]string{{true, true}: "█", {true, false}: "▀", {false, true}: "▄", {false, false}: " "}[[2]bool{upper, lower}])
		}
		b.WriteString("\n")
	}
	return strings.TrimRight(b.String(), "\n")
}
