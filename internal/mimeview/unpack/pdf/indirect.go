package pdf

import (
	"slices"
	"strings"
)

// What a dictionary does not say itself but points to: ISO 32000-1, 7.3.10 lets any value be an object of its own.

const maxAlone = 20_000 // objects that are but a string or name, and dictionaries that point to some

// alone keeps a name that stands in no dictionary.
func (s *scanner) alone(name string) {
	if s.nested { // an object stream gives its numbers in front: which is whose is not known
		return
	}
	if len(s.names) < maxAlone && len(s.names[s.object]) < maxFilters+1 {
		s.names[s.object] = append(s.names[s.object], name)
	}
}

// beginsText says whether a string, a name or a dictionary is next, behind white space.
func beginsText(b []byte) bool {
	at := 0
	for at < len(b) && isSpace(b[at]) {
		at++
	}
	return at < len(b) && strings.IndexByte("(</", b[at]) >= 0
}

// listed keeps the strings and names of an object stream, which begins with the numbers and places of its objects.
// ISO 32000-1, 7.5.7
func (s *scanner) listed(b []byte, first int) {
	if first <= 0 || first > len(b) {
		return
	}
	l := lexer{b: b[:first]}
	for len(s.texts)+len(s.names) < 2*maxAlone {
		object, place := l.next(), l.next()
		if place.kind != number {
			return
		}
		at := first + integer(place.value)
		if at >= len(b) {
			continue
		}
		inner := lexer{b: b, at: at}
		if !beginsText(b[at:]) {
			continue
		}
		switch t := inner.next(); t.kind {
		case text:
			s.texts[integer(object.value)] = t.value
		case name:
			s.names[integer(object.value)] = []string{t.value}
		}
	}
}

// opened decrypts a string. Those in object streams are encrypted with their stream. ISO 32000-2, 7.6.2
func (s *scanner) opened(v string) string {
	if s.keys == nil || s.nested {
		return v
	}
	if inClear := s.object == 0 || s.object == s.keys.object; inClear { // the trailer, and the dictionary of the encryption
		return v
	}
	return string(s.keys.open(s.keys.strings, s.object, s.generation, []byte(v)))
}

// string decrypts a string, and keeps one that stands in no dictionary.
func (s *scanner) string(v string, alone bool) string {
	v = s.opened(v)
	if alone && !s.nested && len(s.texts) < maxAlone {
		s.texts[s.object] = v
	}
	return v
}

// sealed has a stream decrypted when it is decoded. Cross-reference streams never are encrypted.
func (s *scanner) sealed(one *Stream) {
	if s.keys == nil || one.kind == "XRef" || slices.Contains(one.Filters, "Crypt") {
		return
	}
	if one.kind == "Metadata" && s.keys.plainMetadata {
		return
	}
	keys, how, object, generation, content := s.keys, s.keys.streams, s.object, s.generation, one.Content
	one.opened = func() []byte { return keys.open(how, object, generation, content) }
}

// resolve reads what could not be known before the whole file was.
func (s *scanner) resolve() {
	for _, one := range s.later {
		one.Filters = s.names[one.filterAt]
		s.objects(one)
	}
	for i := range s.found.Streams {
		if one := &s.found.Streams[i]; one.filterAt != 0 && len(one.Filters) == 0 {
			one.Filters = s.names[one.filterAt]
		}
	}
	pending := s.pending
	for _, d := range pending {
		s.complete(d)
	}
}

// complete looks up what a dictionary refers to, and asks for its action again.
func (s *scanner) complete(d dict) {
	if text := s.texts[d.scriptAt]; text != "" {
		s.keep(&s.found.Scripts, plain(text))
	}
	if text := s.texts[d.uriAt]; text != "" {
		s.keep(&s.found.URIs, plain(text))
	}
	if d.file == "" {
		d.file = plain(s.texts[d.fileAt])
	}
	if names := s.names[d.actionAt]; d.action == "" && len(names) > 0 {
		d.action = names[0]
	}
	if d.actionAt|d.fileAt != 0 {
		d.actionAt, d.fileAt, d.scriptAt, d.uriAt = 0, 0, 0, 0
		s.action(d)
	}
}
