package unpack

import (
	"bytes"
	"errors"
	"strings"
)

// Archives that are not unpacked here are listed at least: what a file is called says whether anybody may open it.

// inspectListed names the files of CAB, ARJ, LZH and ACE archives. What is in them stays unread, and is said to be so.
func inspectListed(w *walk, n *node, o *Object) func() {
	var list func([]byte, func(string) bool) error
	switch {
	case o.is("application/vnd.ms-cab-compressed"):
		list = listCAB
	case o.is("application/x-arj"):
		list = listARJ
	case o.is("application/x-lzh-compressed"):
		list = listLZH
	case o.is("application/x-ace-compressed"):
		list = listACE
	default:
		return nil
	}
	return func() {
		err := list(n.content, func(name string) bool {
			if w.stopped() {
				return false
			}
			w.part(n, []string{name}, nil)
			return true
		})
		if err != nil {
			w.unscannable(n.path, brief(err))
		}
	}
}

var errListing = errors.New("the list of files is broken")

// listCAB: [MS-CAB] 2.1, 2.3: the files' entries begin where the header says.
func listCAB(b []byte, each func(string) bool) error {
	i := bytes.Index(b, []byte("MSCF"))
	if i < 0 || len(b) < i+36 {
		return errListing
	}
	b = b[i:]
	at, count := int64(le32(b[16:])), int(le16(b[28:]))
	for range count {
		if at+17 > int64(len(b)) {
			return errListing
		}
		name, _, ok := bytes.Cut(b[at+16:min(int64(len(b)), at+16+257)], []byte{0})
		if !ok {
			return errListing
		}
		if !each(string(name)) {
			return nil
		}
		at += 16 + int64(len(name)) + 1
	}
	return nil
}

// behindARJExtensions skips extended headers, until one of no size.
func behindARJExtensions(b []byte) []byte {
	for len(b) >= 2 {
		more := int(le16(b))
		b = b[2:]
		if more == 0 {
			break
		}
		b = b[min(len(b), more+4):]
	}
	return b
}

// listARJ: a main header, then one for each file: marker, size, fixed part, name, comment, sum, extensions, content.
func listARJ(b []byte, each func(string) bool) error {
	for first := true; len(b) >= 4 && b[0] == 0x60 && b[1] == 0xea; first = false {
		size := int(le16(b[2:]))
		if size == 0 {
			return nil
		}
		if size < 30 || len(b) < 4+size+6 || int(b[4]) > size {
			return errListing
		}
		head := b[4 : 4+size]
		packed := int64(le32(head[12:]))
		name, _, _ := bytes.Cut(head[head[0]:], []byte{0})
		b = behindARJExtensions(b[4+size+4:])
		if first {
			continue
		}
		if !each(string(name)) {
			return nil
		}
		b = b[min(int64(len(b)), packed):]
	}
	return errListing
}

// listLZH: headers of level 0, 1 and 2. A name may stand in an extension of the header (01), its folder in another (02).
func listLZH(b []byte, each func(string) bool) error {
	for len(b) > 21 && b[0] != 0 {
		name, end, next, ok := lzhHead(b)
		if !ok || end < 22 || end > len(b) {
			return errListing
		}
		if !each(lzhName(b, name, next)) {
			return nil
		}
		packed := int64(le32(b[7:]))
		b = b[min(int64(len(b)), int64(end)+packed):]
	}

	return nil
}

// lzhHead reads the fixed part of a header: the name if it is there, where the header ends, and where its extensions begin,
// 0 for none.
func lzhHead(b []byte) (name string, end, next int, ok bool) {
	level := b[20]
	switch level {
	case 0, 1:
		end = int(b[0]) + 2
		if size := int(b[21]); 22+size <= len(b) {
			name = string(b[22 : 22+size])
		}
		if level == 1 {
			next = end - 2
		}
	case 2:
		end, next = int(le16(b)), 24
	default:
		return "", 0, 0, false
	}

	return name, end, next, true
}

// lzhName is the whole name by the extensions of a header.
func lzhName(b []byte, name string, at int) string {
	folder := ""
	for at > 0 && at+2 <= len(b) {
		size := int(le16(b[at:]))
		if size < 3 || at+2+size > len(b) {
			break
		}
		switch value := string(b[at+3 : at+size]); b[at+2] {
		case 1:
			name = value
		case 2:
			folder = strings.ReplaceAll(value, "\xff", "/")
		}
		at += size
	}

	return folder + name
}

// listACE: blocks of a sum, a size, a type and flags; the type 1 is a file.
func listACE(b []byte, each func(string) bool) error {
	for len(b) >= 7 {
		size := int(le16(b[2:]))
		if size < 3 || 4+size > len(b) {
			return errListing
		}
		kind, flags, head := b[4], le16(b[5:]), b[7:4+size]
		skip := int64(0)
		switch {
		case kind == 1 && len(head) >= 28:
			skip = int64(le32(head))
			name := head[28:]
			length := int(le16(head[26:]))
			if length > len(name) {
				return errListing
			}
			if !each(string(name[:length])) {
				return nil
			}
		case kind > 1 && flags&1 != 0 && len(head) >= 4:
			skip = int64(le32(head))
		}
		b = b[min(int64(len(b)), int64(4+size)+skip):]
	}
	return nil
}

// inspectSZDD opens what compress.exe of MS-DOS and Windows packed: one file, in LZSS with a window of 4 KiB of blanks.
func inspectSZDD(w *walk, n *node, o *Object) func() {
	if !o.is("application/x-ms-compress-szdd") {
		return nil
	}
	return func() {
		content, hit := w.szdd(n.content[14:])
		name := first(n.names)
		if c := n.content[9]; c != 0 && strings.HasSuffix(name, "_") { // the letter that made room for the underscore
			name = name[:len(name)-1] + string(rune(c))
		}
		e := entry{names: []string{name}}
		if hit == "" {
			e.declared = []int64{int64(le32(n.content[10:]))}
		}
		_ = w.decoded(n, e, content, hit, nil) // noted there
	}
}

func (w *walk) szdd(b []byte) (out []byte, hit string) {
	var window [4096]byte
	for i := range window {
		window[i] = ' '
	}
	at := 4096 - 16
	put := func(c byte) {
		out = append(out, c)
		window[at] = c
		at = (at + 1) % 4096
	}
	room := min(w.o.Entry, w.o.Total-w.result.Decoded)
	for len(b) > 0 && hit == "" {
		control := b[0]
		b = b[1:]
		for bit := 0; bit < 8 && len(b) > 0; bit++ {
			if control>>bit&1 == 1 {
				put(b[0])
				b = b[1:]
				continue
			}
			if len(b) < 2 {
				b = nil
				break
			}
			from, length := int(b[0])|int(b[1]&0xf0)<<4, int(b[1]&0xf)+3
			b = b[2:]
			for i := range length {
				put(window[(from+i)%4096])
			}
		}
		if int64(len(out)) > room {
			hit = "entry"
			w.limit(hit)
			out = out[:room]
		}
	}
	w.result.Decoded += int64(len(out))
	return out, hit
}
