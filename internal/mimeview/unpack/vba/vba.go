// Package vba reads VBA projects as [MS-OVBA] stores them: compressed source text behind each module's p-code.
package vba

import (
	"bytes"
	"encoding/binary"
	"errors"
	"regexp"
	"slices"
	"strings"
)

// Stream is one stream of the project's storage.
type Stream struct {
	Name    string
	Content []byte
}

// Module is the source of one module. Source is empty if there is only p-code, as after "VBA stomping".
type Module struct {
	Name   string
	Source []byte
}

const maxSource = 8 << 20 // octets of one module

var errBroken = errors.New("vba: broken compression")

// Decompress opens a CompressedContainer, at most limit octets of it; with an error comes what was read before it.
// [MS-OVBA] 2.4.1.3
func Decompress(b []byte, limit int) ([]byte, error) {
	if len(b) < 3 || b[0] != 1 {
		return nil, errBroken
	}
	var out []byte
	for b = b[1:]; len(b) >= 2 && len(out) < limit; {
		header := binary.LittleEndian.Uint16(b)
		size := int(header&0xfff) + 3
		if header>>12&7 != 3 {
			return out, errBroken
		}
		chunk := b[2:min(size, len(b))]
		b = b[min(size, len(b)):]
		if header&0x8000 == 0 {
			out = append(out, chunk...)
			continue
		}
		var err error
		if out, err = tokens(out, chunk); err != nil {
			return out, err
		}
	}
	return out, nil
}

// tokens decodes one chunk: a flag octet, then eight literals or copies. [MS-OVBA] 2.4.1.3.4
func tokens(out, b []byte) ([]byte, error) {
	start := len(out)
	for len(b) > 0 {
		flags := b[0]
		b = b[1:]
		for bit := 0; bit < 8 && len(b) > 0; bit++ {
			if flags>>bit&1 == 0 {
				out = append(out, b[0])
				b = b[1:]
				continue
			}
			if len(b) < 2 {
				return out, errBroken
			}
			token := int(binary.LittleEndian.Uint16(b))
			b = b[2:]
			// [MS-OVBA] 2.4.1.3.19.1: the more is decoded, the more bits the offset has
			bits := 4
			for 1<<bits < len(out)-start {
				bits++
			}
			length, offset := token&(1<<(16-bits)-1)+3, token>>(16-bits)+1
			if offset > len(out)-start || len(out)-start+length > 4096 {
				return out, errBroken
			}
			for range length {
				out = append(out, out[len(out)-offset])
			}
		}
	}
	return out, nil
}

// Modules gives the source of every module, in the order of the streams. Offsets come from the dir stream; where that
// is missing or lies, the source is found by how it begins.
func Modules(streams []Stream) []Module {
	offsets := map[string]uint32{}
	for _, s := range streams {
		if strings.EqualFold(s.Name, "dir") {
			if dir, _ := Decompress(s.Content, maxSource); len(dir) > 0 { // what could be read is better than nothing
				offsets = moduleOffsets(dir)
			}
		}
	}
	var found []Module
	for _, s := range streams {
		offset, known := offsets[strings.ToLower(s.Name)]
		var source []byte
		if known && int64(offset) < int64(len(s.Content)) {
			source, _ = Decompress(s.Content[offset:], maxSource) // the same
		}
		if len(source) == 0 {
			source = searched(s.Content)
		}
		if known || len(source) > 0 {
			found = append(found, Module{s.Name, source})
		}
	}
	return found
}

// moduleOffsets reads the records of the dir stream: stream name (0x1A) and text offset (0x31). [MS-OVBA] 2.3.4.2.3.2
func moduleOffsets(dir []byte) map[string]uint32 {
	found := map[string]uint32{}
	name := ""
	for len(dir) >= 6 && len(found) < 1000 {
		id, size := binary.LittleEndian.Uint16(dir), int64(binary.LittleEndian.Uint32(dir[2:]))
		if id == 9 { // PROJECTVERSION: two octets more than it says
			size = 6
		}
		if size > int64(len(dir)-6) {
			break
		}
		value := dir[6 : 6+size]
		dir = dir[6+size:]
		switch {
		case id == 0x1a:
			name = string(value)
		case id == 0x31 && size == 4 && name != "":
			found[strings.ToLower(name)] = binary.LittleEndian.Uint32(value)
		}
	}
	return found
}

// searched finds a container that begins with the text that every module begins with.
func searched(b []byte) []byte {
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte("\x00Attribut"))
		if i < 0 {
			return nil
		}
		at += i
		if at >= 3 && b[at-3] == 1 {
			if source, _ := Decompress(b[at-3:], maxSource); len(source) > 0 { // what could be read is better than nothing
				return source
			}
		}
		at++
	}
}

// Procedures that Office runs without being asked, or when somebody moves within the document.
const autoNames = `(?:auto_?(?:open|exec|close|new|exit|activate|deactivate)|document_?(?:open|new|close|beforeclose|change|sync|contentcontrolonenter)|` +
	`workbook_(?:open|activate|beforeclose|beforesave|close|deactivate|windowactivate|windowresize|newsheet|addininstall|sheet[a-z]+)|` +
	`worksheet_(?:activate|deactivate|change|calculate|selectionchange|beforedoubleclick|followhyperlink)|app_documentopen|application_(?:startup|newmail|newmailex)|` +
	`onslideshow[a-z]+|slideshow[a-z]+|` +
	`[a-z0-9_]+_(?:layout|resize|painting|painted|gotfocus|lostfocus|mousehover|mouseenter|mousemove|onconnecting|beforenavigate2|navigatecomplete2|documentcomplete|` +
	`downloadbegin|downloadcomplete|progresschange|statuschange|statechange|titlechange|propertychange|readystatechange|newwindow2|change|` +
	`documentopen|newdocument|workbookopen|newworkbook|presentationopen|windowactivate))`

var (
	autoExec = regexp.MustCompile(`(?i)\b(?:sub|function)[ \t]+\[?(` + autoNames + `)\b`)
	// continued is a line that goes on in the next one. [MS-VBAL] 3.2.2
	continued = regexp.MustCompile(`[ \t]_[ \t]*\r?\n`)
	procedure = regexp.MustCompile(`(?i)\b(?:sub|function|property[ \t]+(?:get|let|set))[ \t]+\w`)
	// cached are names in the table of a compiled project
	cached = regexp.MustCompile(`(?i)(?:^|[^a-z0-9_])(auto_?(?:open|exec|close|new|exit)|document_(?:open|close|new)|workbook_(?:open|activate|beforeclose|sheet[a-z]+))(?:$|[^a-z0-9_])`)
)

// AutoExec names the procedures in a module's source that run by themselves, each once, at most 20.
func AutoExec(source []byte) []string {
	var found []string
	if bytes.Contains(source, []byte("_")) {
		source = continued.ReplaceAll(source, []byte(" "))
	}
	for _, m := range autoExec.FindAllSubmatch(source, 20) {
		if name := string(m[1]); !slices.Contains(found, name) {
			found = append(found, name)
		}
	}
	return found
}

// compiled is how much compiled code a module without a procedure has at most: some lines of attributes.
const compiled = 2800

// Stomped says where the compiled code is more than the source that is shown: Office runs the compiled code as long as it
// is of its own version, and its source is not looked at.
func Stomped(streams []Stream, modules []Module) (found []string) {
	source := map[string][]byte{}
	all := []byte{}
	for _, m := range modules {
		source[m.Name] = m.Source
		all = append(all, m.Source...)
	}
	for _, s := range streams {
		text, module := source[s.Name]
		switch {
		case strings.EqualFold(s.Name, "_VBA_PROJECT"):
			for _, m := range cached.FindAllSubmatch(s.Content, 20) {
				if !bytes.Contains(bytes.ToLower(all), bytes.ToLower(m[1])) {
					found = append(found, "only in compiled code: "+string(m[1]))
				}
			}
		case module && len(s.Content)-len(text) > compiled && !procedure.Match(continued.ReplaceAll(text, []byte(" "))):
			found = append(found, "compiled code without its source: "+s.Name)
		}
	}
	return found
}
