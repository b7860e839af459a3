package campaigns

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"image"
	_ "image/gif"  // formats of image.Decode
	_ "image/jpeg" //
	_ "image/png"  //
	"io"

	"postern/internal/mimeview"
)

// Bounds of a picture that is looked at: smaller ones are logos and counters, larger ones cost too much.
const (
	minSide     = 80
	maxPixels   = 2_000_000
	maxPicture  = 4 << 20 // octets
	gridColumns = 9
	gridRows    = 8
)

// pictureID is a hash that stays the same when a picture is packed again or scaled: for each of 64 places whether the place to
// its right is darker ("difference hash"). "" for a picture that can't be read, is too small or too large, or is of one
// colour.
func pictureID(o *mimeview.Object) string {
	if o.Size > maxPicture {
		return ""
	}
	r, err := o.Open()
	if err != nil {
		return ""
	}
	content, err := io.ReadAll(io.LimitReader(r, maxPicture+1))
	if errors.Join(err, r.Close()) != nil {
		return ""
	}
	conf, _, err := image.DecodeConfig(bytes.NewReader(content))
	if err != nil || min(conf.Width, conf.Height) < minSide || conf.Width*conf.Height > maxPixels {
		return ""
	}
	picture, _, err := image.Decode(bytes.NewReader(content))
	if err != nil {
		return ""
	}
	h := differences(picture)
	if h == 0 || h == ^uint64(0) {
		return ""
	}

	return hex.EncodeToString(binary.BigEndian.AppendUint64(nil, h))
}

// differences compares the brightness of cells that lie beside each other.
func differences(m image.Image) (h uint64) {
	b := m.Bounds()
	for y := range gridRows {
		before := 0
		for x := range gridColumns {
			cell := image.Rect(b.Min.X+b.Dx()*x/gridColumns, b.Min.Y+b.Dy()*y/gridRows, b.Min.X+b.Dx()*(x+1)/gridColumns, b.Min.Y+b.Dy()*(y+1)/gridRows)
			light := brightness(m, cell)
			if x > 0 {
				h <<= 1
				if light < before {
					h |= 1
				}
			}
			before = light
		}
	}

	return h
}

// samples is how many points of a cell are looked at in each direction.
const samples = 8

// brightness is the mean of a cell, in steps wide enough that another packing gives the same.
func brightness(m image.Image, cell image.Rectangle) int {
	sum := 0
	for i := range samples {
		for j := range samples {
			r, g, b, _ := m.At(cell.Min.X+cell.Dx()*i/samples, cell.Min.Y+cell.Dy()*j/samples).RGBA()
			sum += int(3*r+6*g+b) / 10
		}
	}

	return sum / (samples * samples) >> 10
}
