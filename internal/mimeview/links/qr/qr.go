// Package qr reads QR codes (ISO/IEC 18004) in pictures from strangers: small enough ones only, and whatever goes wrong in
// a decoder ends there.
package qr

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

// Bounds of a picture that is read.
const (
	MaxPixels = 4 << 20
	MaxOctets = 8 << 20
	minSide   = 21 // modules of the smallest code
	maxScans  = 64 // of a progressive JPEG: each costs time for all of its pixels
)

// Errors of Read.
var (
	ErrNoPicture = errors.New("no picture in PNG, JPEG or GIF")
	ErrTooLarge  = errors.New("picture is too large to be read")
	ErrBroken    = errors.New("picture can't be read")
)

// Read gives the text of the code in a picture, "" if there is none. Of an animation the first picture is read.
func Read(content []byte) (text string, err error) {
	if len(content) > MaxOctets {
		return "", ErrTooLarge
	}
	defer func() {
		if r := recover(); r != nil { // in a decoder: the picture is bad, the message goes on
			text, err = "", fmt.Errorf("%w: %.80v", ErrBroken, r)
		}
	}()
	img, err := decode(content)
	if err != nil || img == nil {
		return "", err
	}
	return find(img)
}

// format is how a kind of picture is decoded.
type format struct {
	config func(io.Reader) (image.Config, error)
	open   func(io.Reader) (image.Image, error)
}

func formatOf(content []byte) (format, error) {
	switch {
	case bytes.HasPrefix(content, []byte("\x89PNG\r\n\x1a\n")):
		return format{png.DecodeConfig, png.Decode}, nil
	case bytes.HasPrefix(content, []byte("GIF8")):
		return format{gif.DecodeConfig, gif.Decode}, nil
	case !bytes.HasPrefix(content, []byte("\xff\xd8\xff")):
		return format{}, ErrNoPicture
	case bytes.Count(content, []byte("\xff\xda")) > maxScans:
		return format{}, ErrTooLarge
	}
	return format{jpeg.DecodeConfig, jpeg.Decode}, nil
}

func decode(content []byte) (image.Image, error) {
	f, err := formatOf(content)
	if err != nil {
		return nil, err
	}
	size, err := f.config(bytes.NewReader(content))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrBroken, err)
	case size.Width <= 0 || size.Height <= 0 || size.Width > MaxPixels/size.Height:
		return nil, ErrTooLarge
	case size.Width < minSide || size.Height < minSide:
		return nil, nil
	}
	img, err := f.open(io.LimitReader(bytes.NewReader(content), MaxOctets))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return img, nil
}

// ReadGray gives the text of the code in a picture of an octet a pixel, "" if there is none.
func ReadGray(gray []byte, width, height int) (text string, err error) {
	if width < minSide || height < minSide {
		return "", nil
	}
	if width > MaxPixels/height || len(gray) < width*height {
		return "", ErrTooLarge
	}
	return canvas{&image.Gray{Pix: gray, Stride: width, Rect: image.Rect(0, 0, width, height)}}.read()
}

// Cost is about how long it takes to read a picture, in units of some 10 ns: for each pixel, and for what is packed. It is
// above any budget for what is not read.
func Cost(content []byte) int {
	f, err := formatOf(content)
	if err != nil || len(content) > MaxOctets {
		return MaxPixels + 2*MaxOctets
	}
	size, err := f.config(bytes.NewReader(content))
	if err != nil || size.Width <= 0 || size.Height <= 0 {
		return MaxPixels + 2*MaxOctets
	}
	if size.Width > MaxPixels/size.Height {
		return MaxPixels + 2*MaxOctets
	}
	return size.Width*size.Height + 2*len(content)
}

// enough is how many pixels a picture may have before it is halved: a code that is to be read from a screen is large in it.
const enough = 1200 << 10

// halved makes each four pixels one.
func halved(gray []byte, width, height int) (half []byte, w, h int) {
	w, h = width/2, height/2
	half = make([]byte, w*h)
	for y := range h {
		upper, lower := gray[2*y*width:], gray[(2*y+1)*width:]
		for x := range w {
			half[y*w+x] = byte((int(upper[2*x]) + int(upper[2*x+1]) + int(lower[2*x]) + int(lower[2*x+1])) / 4)
		}
	}
	return half, w, h
}

func find(img image.Image) (string, error) {
	gray, width, height := luminance(img)
	if width*height > enough {
		gray, width, height = halved(gray, width, height)
	}
	source, err := gozxing.NewPlanarYUVLuminanceSource(gray, width, height, 0, 0, width, height, false)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrBroken, err)
	}
	for _, s := range []gozxing.LuminanceSource{source, source.Invert()} { // light on dark is read by telephones, too
		bitmap, err := gozxing.NewBinaryBitmap(gozxing.NewHybridBinarizer(s))
		if err != nil {
			return "", fmt.Errorf("%w: %w", ErrBroken, err)
		}
		if result, err := qrcode.NewQRCodeReader().Decode(bitmap, nil); err == nil {
			return result.GetText(), nil
		}
	}
	return "", nil
}

func shadesOf(p color.Palette) (shades [256]byte) {
	for i, c := range p {
		shades[i&255] = shade(c)
	}
	return shades
}

// luminance gives an octet for each pixel; what is transparent is white.
func luminance(img image.Image) (gray []byte, width, height int) {
	b := img.Bounds()
	width, height = b.Dx(), b.Dy()
	gray = make([]byte, width*height)
	switch p := img.(type) {
	case *image.YCbCr:
		for y := range height {
			copy(gray[y*width:(y+1)*width], p.Y[p.YOffset(b.Min.X, b.Min.Y+y):])
		}
	case *image.Gray:
		for y := range height {
			copy(gray[y*width:(y+1)*width], p.Pix[p.PixOffset(b.Min.X, b.Min.Y+y):])
		}
	case *image.Paletted:
		shades := shadesOf(p.Palette)
		for y := range height {
			for x, i := range p.Pix[p.PixOffset(b.Min.X, b.Min.Y+y):][:width] {
				gray[y*width+x] = shades[i]
			}
		}
	case image.RGBA64Image:
		for y := range height {
			for x := range width {
				c := p.RGBA64At(b.Min.X+x, b.Min.Y+y)
				gray[y*width+x] = shadeOf(uint32(c.R), uint32(c.G), uint32(c.B), uint32(c.A))
			}
		}
	}
	return gray, width, height
}

func shade(c color.Color) byte { return shadeOf(c.RGBA()) }

// shadeOf takes what is already multiplied by a.
func shadeOf(r, g, b, a uint32) byte { return byte(((r+2*g+b)/4 + (0xffff - a)) >> 8) }
