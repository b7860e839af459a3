package eval

import (
	"encoding/binary"
	"regexp"
	"strconv"
	"strings"
)

func imageFunctions() map[string]Func {
	return map[string]Func{
		"image_count": func(c *Context, args []string) float64 {
			return truth(between(float64(c.images().count[arg(args, 0)]), arg(args, 1), arg(args, 2)))
		},
		"pixel_coverage": func(c *Context, args []string) float64 {
			return truth(between(c.images().pixels[arg(args, 0)], arg(args, 1), arg(args, 2)))
		},
		"image_named": func(c *Context, args []string) float64 { return truth(c.images().names[arg(args, 0)]) },
		"image_name_regex": func(c *Context, args []string) float64 {
			for name := range c.images().names {
				if c.find(c.pattern(strings.Trim(arg(args, 0), "/")), name) {
					return 1
				}
			}
			return 0
		},
		"image_to_text_ratio": imageToText, "image_size_exact": imageSizeExact, "image_size_range": imageSizeRange,
	}
}

// imageSet is what the images of a message show, by kind and for "all".
type imageSet struct {
	count  map[string]int
	pixels map[string]float64
	sizes  map[string][][2]int // height and width
	names  map[string]bool
}

var imageType = regexp.MustCompile(`^image/(gif|png|jpe?g)$`)

func (c *Context) images() *imageSet {
	return once(c, "images", func() *imageSet {
		s := &imageSet{map[string]int{}, map[string]float64{}, map[string][][2]int{}, map[string]bool{}}
		for _, p := range c.Message.Tree().Find(true, imageType.MatchString) {
			if p.Encoding() != "base64" {
				continue
			}
			kind := strings.Replace(strings.TrimPrefix(p.Type, "image/"), "jpg", "jpeg", 1)
			s.count[kind]++
			s.count["all"]++
			height, width := imageSize(kind, p.Decode())
			if height == 0 || width == 0 {
				continue
			}
			for _, k := range []string{kind, "all"} {
				s.pixels[k] += float64(height) * float64(width)
				s.sizes[k] = append(s.sizes[k], [2]int{height, width})
			}
			if p.Name != "" {
				s.names[p.Name] = true
			}
		}
		return s
	})
}

func imageSize(kind, data string) (height, width int) {
	switch kind {
	case "gif":
		if len(data) >= 10 && (strings.HasPrefix(data, "GIF87a") || strings.HasPrefix(data, "GIF89a")) {
			return int(binary.LittleEndian.Uint16([]byte(data[8:10]))), int(binary.LittleEndian.Uint16([]byte(data[6:8])))
		}
	case "png":
		if len(data) >= 24 && strings.HasPrefix(data, "\x89PNG\r\n\x1a\n") && data[12:16] == "IHDR" {
			return int(binary.BigEndian.Uint32([]byte(data[20:24]))), int(binary.BigEndian.Uint32([]byte(data[16:20])))
		}
	case "jpeg":
		return jpegSize(data)
	}
	return 0, 0
}

func jpegSize(data string) (height, width int) {
	if !strings.HasPrefix(data, "\xff\xd8") {
		return 0, 0
	}
	const scan, end = 0xda, 0xd9
	for at := 2; at+9 <= len(data) && data[at] == 0xff; {
		mark, size := data[at+1], int(binary.BigEndian.Uint16([]byte(data[at+2:at+4])))
		if mark == scan || mark == end || size < 2 {
			break
		}
		if startsFrame(mark) {
			return int(binary.BigEndian.Uint16([]byte(data[at+5 : at+7]))), int(binary.BigEndian.Uint16([]byte(data[at+7 : at+9])))
		}
		at += 2 + size
	}
	return 0, 0
}

// startsFrame says whether a marker begins a frame, whose header has the size (ITU-T T.81 table B.1): of SOF0 to SOF15 the
// numbers 4, 8 and 12 are taken by others.
func startsFrame(mark byte) bool {
	return mark&0xf0 == 0xc0 && mark != 0xc4 && mark != 0xc8 && mark != 0xcc
}

// between says whether a value is at least one bound and at most the other, if that is given.
func between(value float64, least, most string) bool {
	return least != "" && value >= number(least) && (most == "" || value <= number(most))
}

func imageToText(c *Context, args []string) float64 {
	pixels := c.images().pixels[arg(args, 0)]
	length := 0
	for _, l := range c.Message.Body() {
		length += len(l)
	}
	if pixels <= 0 || length == 0 {
		return 0
	}
	ratio := float64(length) / pixels
	return truth(between(ratio, arg(args, 1), arg(args, 2)) && ratio != number(arg(args, 2)))
}

func imageSizeExact(c *Context, args []string) float64 {
	height, _ := strconv.Atoi(arg(args, 1))
	width, _ := strconv.Atoi(arg(args, 2))
	for _, s := range c.images().sizes[arg(args, 0)] {
		if s == [2]int{height, width} {
			return 1
		}
	}
	return 0
}

func imageSizeRange(c *Context, args []string) float64 {
	for _, s := range c.images().sizes[arg(args, 0)] {
		if between(float64(s[0]), arg(args, 1), arg(args, 3)) && between(float64(s[1]), arg(args, 2), arg(args, 4)) {
			return 1
		}
	}
	return 0
}
