package qr

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

const secret = "https://evil.example/login?user=ann"

// code draws a QR code in the middle of a page.
func code(t testing.TB, side int, dark, light color.Color) image.Image {
	t.Helper()
	bits, err := qrcode.NewQRCodeWriter().Encode(secret, gozxing.BarcodeFormat_QR_CODE, 200, 200, nil)
	if err != nil {
		t.Fatal(err)
	}
	img := image.NewRGBA(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			c, at := light, (side-200)/2
			if x >= at && y >= at && x < at+200 && y < at+200 && bits.Get(x-at, y-at) {
				c = dark
			}
			img.Set(x, y, c)
		}
	}
	return img
}

func encoded(t testing.TB, img image.Image, kind string) []byte {
	t.Helper()
	var b bytes.Buffer
	var err error
	switch kind {
	case "png":
		err = png.Encode(&b, img)
	case "jpeg":
		err = jpeg.Encode(&b, img, nil)
	default:
		err = gif.Encode(&b, img, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCodesAreRead(t *testing.T) {
	for _, kind := range []string{"png", "jpeg", "gif"} {
		for name, img := range map[string]image.Image{
			"plain": code(t, 300, color.Black, color.White), "inverted": code(t, 300, color.White, color.Black), "large": code(t, 1000, color.Black, color.White),
			"coloured": code(t, 300, color.RGBA{0, 0, 120, 255}, color.RGBA{240, 240, 200, 255}),
		} {
			if got, err := Read(encoded(t, img, kind)); got != secret || err != nil {
				t.Errorf("%s %s: %q, %v", name, kind, got, err)
			}
		}
	}
	transparent := code(t, 300, color.Black, color.Transparent)
	if got, err := Read(encoded(t, transparent, "png")); got != secret || err != nil {
		t.Errorf("transparent: %q, %v", got, err)
	}
}

func TestWhatIsNoCode(t *testing.T) {
	white := encoded(t, image.NewGray(image.Rect(0, 0, 100, 100)), "png")
	for name, c := range map[string]struct {
		content []byte
		want    error
	}{
		"a plain picture":    {white, nil},
		"a pixel":            {encoded(t, image.NewGray(image.Rect(0, 0, 1, 1)), "gif"), nil},
		"text":               {[]byte("hello"), ErrNoPicture},
		"cut off":            {white[:60], ErrBroken},
		"a header alone":     {[]byte("\x89PNG\r\n\x1a\n"), ErrBroken},
		"2 gigapixels":       {append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00\xc3\x50\x00\x00\xc3\x50\x08\x02\x00\x00\x00\x7f\x1a\x4f\x9b"), 0), nil},
		"a JPEG of scans":    {append([]byte("\xff\xd8\xff"), bytes.Repeat([]byte("\xff\xda"), 1000)...), ErrTooLarge},
		"more than 8 MiB":    {make([]byte, MaxOctets+1), ErrTooLarge},
		"nothing whatsoever": {nil, ErrNoPicture},
	} {
		got, err := Read(c.content)
		if got != "" || c.want != nil && !errors.Is(err, c.want) || name == "2 gigapixels" && err == nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, kind := range []string{"png", "jpeg", "gif"} {
		f.Add(encoded(f, code(f, 220, color.Black, color.White), kind))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if text, err := Read(content); err != nil && text != "" {
			t.Errorf("%q, %v", text, err)
		}
	})
}

func BenchmarkRead1Megapixel(b *testing.B) {
	for _, kind := range []string{"png", "jpeg"} {
		content := encoded(b, code(b, 1000, color.Black, color.White), kind)
		b.Run(kind, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = Read(content)
			}
		})
	}
}

func BenchmarkNoCode4Megapixels(b *testing.B) {
	img := image.NewGray(image.Rect(0, 0, 2000, 2000))
	for i := range img.Pix { // noise
		img.Pix[i] = byte(i*i>>7 ^ i*31)
	}
	content := encoded(b, img, "jpeg")
	for b.Loop() {
		_, _ = Read(content)
	}
}
