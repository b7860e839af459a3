package pdf

import (
	"bytes"
	"compress/flate"
	"compress/lzw"
	"encoding/ascii85"
	"errors"
	"io"
)

var errFilter = errors.New("pdf: unknown filter")

// Decode opens the stream's filters in their order. The reader yields what could be decoded; its user sets the limits.
// ISO 32000-1, 7.4
func (s Stream) Decode() (io.Reader, error) {
	if len(s.Filters) > maxFilters {
		return nil, errFilter
	}
	content := s.Content
	if s.opened != nil {
		content = s.opened()
	}
	var r io.Reader = bytes.NewReader(content)
	for _, f := range s.Filters {
		switch f {
		case "FlateDecode", "Fl":
			r = inflate(r)
		case "ASCIIHexDecode", "AHx":
			r = &hexReader{r: r}
		case "ASCII85Decode", "A85":
			r = ascii85.NewDecoder(&a85{r: r})
		case "LZWDecode", "LZW":
			r = lzw.NewReader(r, lzw.MSB, 8) // early change by a bit: what follows the first table is lost
		case "RunLengthDecode", "RL":
			r = &runLength{r: r}
		case "Crypt":
		default:
			return nil, errFilter
		}
	}
	return r, nil
}

// inflate drops the two octets of zlib's header without asking much of them: readers are as lenient.
func inflate(r io.Reader) io.Reader {
	var head [2]byte
	got, _ := io.ReadFull(r, head[:]) // a short stream ends in the decoder
	if got == 2 && head[0]&0xf == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0 {
		return flate.NewReader(r)
	}
	return flate.NewReader(io.MultiReader(bytes.NewReader(head[:got]), r))
}

// hexReader reads hexadecimal digits to the first '>'.
type hexReader struct {
	r    io.Reader
	done bool
	high int
	odd  bool
}

func (h *hexReader) Read(p []byte) (int, error) {
	var block [4096]byte
	for !h.done && len(p) > 0 {
		got, err := h.r.Read(block[:min(len(block), len(p))])
		n := 0
		for _, c := range block[:got] {
			if c == '>' {
				h.done = true
				break
			}
			v := hexDigit(c)
			if v < 0 {
				continue
			}
			if h.odd {
				p[n] = byte(h.high<<4 | v)
				n++
			}
			h.high, h.odd = v, !h.odd
		}
		if n > 0 {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, io.EOF
}

// a85 ends before "~>", where Go's decoder would find an error.
type a85 struct {
	r    io.Reader
	done bool
}

func (a *a85) Read(p []byte) (int, error) {
	if a.done {
		return 0, io.EOF
	}
	got, err := a.r.Read(p)
	if i := bytes.IndexByte(p[:got], '~'); i >= 0 {
		a.done = true
		return i, nil
	}
	return got, err
}

// runLength: a count below 128 and so many octets and one, or a count above and one octet to be repeated.
type runLength struct {
	r   io.Reader
	out bytes.Buffer
}

func (l *runLength) Read(p []byte) (int, error) {
	var b [128]byte
	for l.out.Len() < len(p) && l.out.Len() < 1<<16 {
		if _, err := io.ReadFull(l.r, b[:1]); err != nil || b[0] == 128 {
			break
		}
		if count := int(b[0]); count < 128 {
			got, _ := io.ReadFull(l.r, b[:count+1]) // short at the end
			l.out.Write(b[:got])
			continue
		}
		count := 257 - int(b[0])
		if _, err := io.ReadFull(l.r, b[:1]); err != nil {
			break
		}
		l.out.Write(bytes.Repeat(b[:1], count))
	}
	return l.out.Read(p)
}
