package qr

import (
	"image"
	"image/color"
	"strings"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

// modules are those of a code with two modules of light around it.
func modules(t testing.TB) [][]bool {
	t.Helper()
	bits, err := qrcode.NewQRCodeWriter().Encode(secret, gozxing.BarcodeFormat_QR_CODE, 0, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	rows := make([][]bool, bits.GetHeight())
	for y := range rows {
		for x := range bits.GetWidth() {
			rows[y] = append(rows[y], bits.Get(x, y))
		}
	}
	return rows
}

func at(rows [][]bool, y, x int) bool { return y < len(rows) && x < len(rows[y]) && rows[y][x] }

// drawings of one code, as programs make them.
func drawings(rows [][]bool) map[string]string {
	var half, inverted, full, signs, squares, braille strings.Builder
	for y := range rows {
		for x := range rows[y] {
			dark := rows[y][x]
			full.WriteString(map[bool]string{true: "██", false: "  "}[dark])
			signs.WriteString(map[bool]string{true: "##", false: "  "}[dark])
			squares.WriteString(map[bool]string{true: "⬛", false: "⬜"}[dark])
		}
		full.WriteString("\r\n")
		signs.WriteString("\n")
		squares.WriteString("\n")
	}
	for y := 0; y < len(rows); y += 2 {
		for x := range rows[y] {
			n := 0
			if rows[y][x] {
				n |= 1
			}
			if at(rows, y+1, x) {
				n |= 2
			}
			half.WriteString([]string{" ", "▀", "▄", "█"}[n])
			inverted.WriteString([]string{" ", "▀", "▄", "█"}[3-n])
		}
		half.WriteString("\n")
		inverted.WriteString("\n")
	}
	for y := 0; y < len(rows); y += 4 {
		for x := 0; x < len(rows[y]); x += 2 {
			r := rune(0x2800)
			for i, d := range [8][2]int{{0, 0}, {1, 0}, {2, 0}, {0, 1}, {1, 1}, {2, 1}, {3, 0}, {3, 1}} {
				if at(rows, y+d[0], x+d[1]) {
					r |= 1 << i
				}
			}
			braille.WriteRune(r)
		}
		braille.WriteString("\n")
	}
	return map[string]string{"half": half.String(), "inverted": inverted.String(), "full": full.String(), "signs": signs.String(), "squares": squares.String(), "braille": braille.String()}
}

func TestDrawnCodesAreRead(t *testing.T) {
	rows := modules(t)
	if text, err := ReadCells(rows); text != secret || err != nil {
		t.Errorf("cells: %q, %v", text, err)
	}
	for name, drawing := range drawings(rows) {
		if text, err := ReadDrawn("Scan this with your telephone:\n\n" + drawing + "\nThank you\n"); text != secret || err != nil {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	for _, text := range []string{"", "Sales ████ 80 %\nCosts ██ 40 %\n", strings.Repeat("################\n", 30), strings.Repeat("▀▄█", 20000), strings.Repeat("██████\n", 20000)} {
		if found, _ := ReadDrawn(text); found != "" {
			t.Errorf("%.40q gives %q", text, found)
		}
	}
}

// Whatever comes in, nothing panics and the work is bounded.
func FuzzReadDrawn(f *testing.F) {
	rows := modules(f)
	for _, drawing := range drawings(rows) {
		f.Add(drawing)
	}
	f.Add(strings.Repeat("⬛⬜", 300) + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = ReadDrawn(text)
		var cells [][]bool
		for line := range strings.Lines(text) {
			var row []bool
			for i := range len(line) {
				row = append(row, line[i]&1 != 0)
			}
			cells = append(cells, row)
		}
		_, _ = ReadCells(cells)
	})
}

func BenchmarkRead(b *testing.B) {
	for name, content := range map[string][]byte{
		"png 300": encoded(b, code(b, 300, colorOf(0), colorOf(255)), "png"), "png 1000": encoded(b, code(b, 1000, colorOf(0), colorOf(255)), "png"),
		"jpeg 700": encoded(b, code(b, 700, colorOf(0), colorOf(255)), "jpeg"), "jpeg 1000": encoded(b, code(b, 1000, colorOf(0), colorOf(255)), "jpeg"),
		"noise jpeg 1000": encoded(b, noise(1000), "jpeg"), "noise png 1000": encoded(b, noise(1000), "png"), "noise gif 1000": encoded(b, noise(1000), "gif"),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, _ = Read(content)
			}
		})
	}
	wide := strings.Repeat(strings.Repeat("█ ▀▄ ", 30)+"\n", 400)
	b.Run("no code", func(b *testing.B) {
		for b.Loop() {
			_, _ = ReadDrawn(wide)
		}
	})
	drawing := drawings(modules(b))["half"]
	b.Run("drawn", func(b *testing.B) {
		for b.Loop() {
			_, _ = ReadDrawn(drawing)
		}
	})
}

func colorOf(v uint8) color.Gray { return color.Gray{v} }

// noise is a picture of which each pixel differs, the most that a decoder has to do.
func noise(side int) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, side, side))
	v := uint32(1)
	for i := range img.Pix {
		v = v*1664525 + 1013904223
		img.Pix[i] = uint8(v>>24) | map[bool]uint8{true: 255}[i%4 == 3]
	}
	return img
}
