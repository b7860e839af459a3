package pdf

import (
	"io"
)

// Picture is a picture of a page, still packed. ISO 32000-1, 8.9.5
type Picture struct {
	Stream
	Width, Height, Bits int
}

const maxPictures = 10 // that are kept

// picture keeps one of the first pictures.
func (s *scanner) picture(one Stream, d dict) {
	sized := d.width > 0 && d.height > 0
	if !d.picture || !sized || len(s.found.Pictures) == maxPictures {
		return
	}
	bits := d.bits
	if bits == 0 { // a mask
		bits = 1
	}
	s.found.Pictures = append(s.found.Pictures, Picture{one, d.width, d.height, bits})
}

// JPEG gives the file that a picture is, false if it is none. ISO 32000-1, 7.4.8
func (p Picture) JPEG(most int64) ([]byte, bool) {
	last := len(p.Filters) - 1
	if last < 0 || p.Filters[last] != "DCTDecode" && p.Filters[last] != "DCT" {
		return nil, false
	}
	packed := p.Stream
	packed.Filters = packed.Filters[:last]
	r, err := packed.Decode()
	if err != nil {
		return nil, false
	}
	b, err := io.ReadAll(io.LimitReader(r, most))

	return b, err == nil || len(b) > 0
}

// Gray gives an octet for each pixel of a picture of samples, false for what is packed otherwise. How many samples a pixel
// has, and whether rows have a filter in front (ISO 32000-1, 7.4.4.4), shows in the length; a palette is taken for grey.
func (p Picture) Gray() (gray []byte, ok bool) {
	switch p.Bits {
	case 1, 2, 4, 8:
	default:
		return nil, false
	}
	r, err := p.Decode()
	if err != nil {
		return nil, false
	}
	b, _ := io.ReadAll(io.LimitReader(r, int64(p.Height)*(int64(p.Width)*4+1)+1)) // what could be decoded
	for _, samples := range []int{1, 3, 4} {
		row := (p.Width*samples*p.Bits + 7) / 8
		switch {
		case len(b) == p.Height*(row+1):
			return p.samples(b, row, samples, true), true
		case near(len(b), p.Height*row):
			return p.samples(b, row, samples, false), true
		}
	}

	return nil, false
}

// near allows for a line end behind the samples.
func near(have, want int) bool { return have >= want && have <= want+2 }

func (p Picture) samples(b []byte, row, samples int, filtered bool) []byte {
	gray := make([]byte, p.Width*p.Height)
	before := make([]byte, row)
	for y := range p.Height {
		kind := byte(0)
		if filtered {
			kind, b = b[0], b[1:]
		}
		line := b[:row]
		b = b[row:]
		unfilter(kind, line, before, max(1, samples*p.Bits/8))
		before = line
		for x := range p.Width {
			gray[y*p.Width+x] = shade(line, x*samples, samples, p.Bits)
		}
	}

	return gray
}

// shade is the mean of up to three samples.
func shade(line []byte, at, samples, bits int) byte {
	n := min(samples, 3)
	if samples == 4 {
		n = 1
	}
	sum := 0
	for i := range n {
		bit := (at + i) * bits
		v := int(line[bit/8]) >> (8 - bits - bit%8) & (1<<bits - 1)
		sum += v * 255 / (1<<bits - 1)
	}

	return byte(sum / n)
}

// unfilter takes the filter of a row of PNG away (PNG, third edition, section 9).
func unfilter(kind byte, line, before []byte, pixel int) {
	for i := range line {
		var left, corner byte
		if i >= pixel {
			left, corner = line[i-pixel], before[i-pixel]
		}
		switch kind {
		case 1:
			line[i] += left
		case 2:
			line[i] += before[i]
		case 3:
			line[i] += byte((int(left) + int(before[i])) / 2)
		case 4:
			line[i] += paeth(left, before[i], corner)
		}
	}
}

func paeth(a, b, c byte) byte {
	p := int(a) + int(b) - int(c)
	da, db, dc := distance(p, a), distance(p, b), distance(p, c)
	switch {
	case da <= db && da <= dc:
		return a
	case db <= dc:
		return b
	}

	return c
}

func distance(p int, v byte) int { return max(p-int(v), int(v)-p) }
