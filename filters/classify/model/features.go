package model

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"postern/internal/mail"
	"postern/internal/mail/encodedword"
	"postern/internal/mimeview"
)

// Key is the secret that features are hashed with, so that nobody can make up words that collide with others.
type Key [16]byte

// Bounds of what is looked at.
const (
	maxHeader = 2500 // octets of the header, for the view Header
	maxRaw    = 3500 // octets of the message, for the view Raw
	maxText   = 20 << 10
	maxFields = 200
	maxURLs   = 50
	maxTags   = 1000
	maxTokens = 6000
)

// Extractor makes features. It is safe for use by many goroutines.
type Extractor struct {
	seed uint64
	sets sync.Pool // of *slotSet
}

// NewExtractor makes one for a key. Features of one key mean nothing to a model that was taught with another.
func NewExtractor(k Key) *Extractor {
	return &Extractor{seed: mix(binary.LittleEndian.Uint64(k[:8])) ^ binary.LittleEndian.Uint64(k[8:]), sets: sync.Pool{New: func() any { return &slotSet{} }}}
}

// extractor makes the features of one message.
type extractor struct {
	seed  uint64
	slots *slotSet
	taken int // tokens so far
	// named has the text of each token, where it is asked for
	named map[uint32]string
}

// Extract gives the features of a message. Facts are tokens about it that do not stand in it: the client's network, results
// of checks. Trace is what the message's header would begin with, had our own server written it.
func (e *Extractor) Extract(v *mimeview.View, facts []string, trace string) Features {
	x := e.begin()
	defer e.end(x)
	var f Features
	header, raw := octets(v.Message(), trace)
	x.grams(header[:min(len(header), maxHeader)], 1)
	f[Header] = x.slots.take()
	x.grams(raw[:min(len(raw), maxRaw)], 2)
	f[Raw] = x.slots.take()
	x.all(v, facts)
	x.grams(shown(v), 3)
	f[Tokens] = x.slots.take()

	return f
}

// all takes all tokens.
func (x *extractor) all(v *mimeview.View, facts []string) {
	x.header(v.Message().Header())
	x.parts(v)
	x.links(v)
	for _, fact := range facts {
		x.token(prefixFact, fact)
	}
}

// maxPassage is how much of an honest text is a passage, minPassage how much there must be, in octets.
const (
	maxPassage = 1800
	minPassage = 200
)

// Passage makes a passage of a message's text.
func (e *Extractor) Passage(v *mimeview.View) Passage {
	text := shown(v)
	if len(text) < minPassage {
		return Passage{}
	}
	text = text[:min(len(text), maxPassage)]
	x := e.begin()
	defer e.end(x)
	var p Passage
	x.grams(text, 2)
	p.Raw = x.slots.take()
	x.words(prefixWord, string(text), true)
	x.grams(text, 3)
	p.Tokens = x.slots.take()

	return p
}

func (e *Extractor) begin() *extractor {
	return &extractor{seed: e.seed, slots: e.sets.Get().(*slotSet)}
}

// end keeps the set for the next message, emptied.
func (e *Extractor) end(x *extractor) {
	x.slots.clear()
	e.sets.Put(x.slots)
}

// shown is the front of the text as a reader sees it, in lower case.
func shown(v *mimeview.View) []byte {
	var text []byte
	for _, p := range v.Parts() {
		if strings.HasPrefix(p.Type, "text/") && len(text) < maxRaw {
			text = append(text, p.Text[:min(len(p.Text), maxRaw-len(text))]...)
		}
	}

	return bytes.ToLower(text)
}

// octets are the header and the first octets of the message, without what other servers concluded about it.
func octets(m *mail.Message, trace string) (header, raw []byte) {
	raw = append(raw, trace...)
	for _, field := range m.Header().Fields {
		if len(raw) >= maxRaw {
			break
		}
		if !isVerdict(field.Name) {
			raw = append(raw, field.Raw...)
		}
	}
	header = raw[:min(len(raw), maxRaw)]
	if len(raw) < maxRaw {
		raw = append(raw, body(m, maxRaw-len(raw))...)
	}

	return header, raw
}

// body is the front of what follows the header.
func body(m *mail.Message, n int) []byte {
	skip := m.Header().Size
	text, err := io.ReadAll(io.LimitReader(m.Open(), int64(skip+n)))
	if err != nil {
		return nil // a message that can't be read is judged by its header
	}

	return text[min(skip, len(text)):]
}

// Bare is a message without the fields in which servers say what they think of it. Its lines end in CRLF.
func Bare(raw []byte) []byte {
	h := mail.NewMessage(raw).Header()
	bare := make([]byte, 0, len(raw))
	for _, f := range h.Fields {
		if !isVerdict(f.Name) {
			bare = append(bare, f.Raw...)
		}
	}

	return append(append(bare, "\r\n"...), raw[min(h.Size, len(raw)):]...)
}

// isVerdict holds for fields in which a server says what it thinks of a message, and for ours.
func isVerdict(name string) bool {
	name = strings.ToLower(name)
	for _, prefix := range []string{"x-spam", "x-virus", "x-postern", "x-bogosity", "x-dspam", "x-rspamd", "x-mailscanner", "x-barracuda", "x-pmx", "x-ms-exchange-organization",
		"x-forefront", "x-microsoft-antispam", "x-ironport", "x-proofpoint", "x-mimecast", "x-amavis", "x-hmailserver", "x-scanned", "x-av-", "x-antivirus", "x-gnupg", "arc-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "authentication-results", "received-spf", "return-path", "delivered-to", "x-original-to", "x-envelope-to", "status", "x-status", "x-keywords", "x-uid", "x-uidl",
		"content-length", "lines", "x-mozilla-status", "x-mozilla-status2", "x-mozilla-keys", "x-gmail-labels", "x-folder":
		return true
	}

	return false
}

// grams takes the hashes of all runs of four octets.
func (x *extractor) grams(text []byte, view uint64) {
	if len(text) < 4 {
		return
	}
	window := uint64(text[0])<<16 | uint64(text[1])<<8 | uint64(text[2])
	seed := x.seed + view*0x9e3779b97f4a7c15
	for _, c := range text[3:] {
		window = window<<8&0xffffffff | uint64(c)
		x.slots.add(slot(mix(window ^ seed)))
	}
}

func slot(h uint64) uint32 { return uint32(h >> (64 - slotBits)) }

// mix spreads a hash over all bits (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb

	return x ^ x>>31
}

// prefix parts tokens of one kind from those of another.
type prefix uint64

const (
	prefixFact prefix = iota + 1
	prefixName
	prefixWord
	prefixPair
	prefixType
	prefixHost
	prefixPath
	prefixTag
	prefixFile
	prefixField // and more, for each field
)

// hash is that of a token's text.
func (x *extractor) hash(p prefix, text string) uint64 {
	h := x.seed ^ uint64(p)*0x9e3779b97f4a7c15
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}

	return mix(h)
}

func (x *extractor) token(p prefix, text string) {
	h := x.hash(p, text)
	x.add(h)
	if x.named != nil {
		x.name(h, p, text)
	}
}

func (x *extractor) add(h uint64) {
	if x.taken < maxTokens {
		x.taken++
		x.slots.add(slot(h))
	}
}

// words takes the words of a text, and pairs of them.
func (x *extractor) words(p prefix, text string, pairs bool) {
	before, last := uint64(0), ""
	for word := range wordsOf(text) {
		h := x.hash(p, word)
		x.add(h)
		if x.named != nil {
			x.name(h, p, word)
		}
		if pairs && before != 0 {
			pair := mix(before*3 + h ^ uint64(prefixPair))
			x.add(pair)
			if x.named != nil {
				x.namePair(pair, p, last, word)
			}
		}
		before, last = h, word
	}
}

// maxWord is how much of a word counts: longer ones are keys and encoded content.
const maxWord = 30

// wordsOf gives the words of a text in lower case. A word of a script without spaces is one of its characters.
func wordsOf(text string) func(func(string) bool) {
	return func(yield func(string) bool) {
		start := -1
		emit := func(end int) bool {
			if start < 0 {
				return true
			}
			word := text[start:min(end, start+maxWord)]
			start = -1

			return yield(lower(word))
		}
		for i := 0; i < len(text); {
			c, size := rune(text[i]), 1
			if c >= utf8.RuneSelf {
				c, size = utf8.DecodeRuneInString(text[i:])
			}
			switch {
			case isWordRune(c):
				if start < 0 {
					start = i
				}
			case c >= utf8.RuneSelf && unicode.In(c, unicode.Han, unicode.Hiragana, unicode.Katakana):
				if !emit(i) || !yield(text[i:i+size]) {
					return
				}
			default:
				if !emit(i) {
					return
				}
			}
			i += size
		}
		emit(len(text))
	}
}

// lower is strings.ToLower, faster for words that are in lower case.
func lower(word string) string {
	for i := range len(word) {
		if c := word[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return strings.ToLower(word)
		}
	}

	return word
}

func isWordRune(c rune) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	case c < utf8.RuneSelf:
		return c == '\'' || c == '$' || c == '-' || c == '!' || c == '%'
	}

	return (unicode.IsLetter(c) || unicode.IsMark(c)) && !unicode.In(c, unicode.Han, unicode.Hiragana, unicode.Katakana)
}

// fields are those whose words count.
const fields = " from to cc subject reply-to sender received message-id x-mailer user-agent content-type list-id list-unsubscribe date organization precedence content-transfer-encoding in-reply-to mime-version x-originating-ip x-priority importance "

// fieldPrefix is the prefix of a field whose words count, and whether pairs do.
func fieldPrefix(name string) (p prefix, pairs, ok bool) {
	i := strings.Index(fields, " "+name+" ")
	if i < 0 {
		return 0, false, false
	}

	return prefixField + prefix(i), name == "from" || name == "subject" || name == "received", true
}

func (x *extractor) header(h *mail.Header) {
	for i, field := range h.Fields[:min(len(h.Fields), maxFields)] {
		if isVerdict(field.Name) {
			continue
		}
		name := strings.ToLower(field.Name)
		x.token(prefixName, name)
		p, pairs, ok := fieldPrefix(name)
		if !ok {
			continue
		}
		value := field.Value()
		value = value[:min(len(value), 1000)]
		if name == "subject" || name == "from" {
			value = encodedword.Decode(value)
		}
		if name == "received" && i > 40 {
			continue
		}
		x.words(p, value, pairs)
	}
}

func (x *extractor) parts(v *mimeview.View) {
	left := maxText
	for _, p := range v.Parts() {
		x.token(prefixType, p.Type)
		x.token(prefixType, p.Type+" "+p.Encoding+" "+strings.ToLower(p.Params["charset"]))
		if i := strings.LastIndexByte(p.Name, '.'); i >= 0 {
			x.token(prefixFile, strings.ToLower(p.Name[i:]))
		}
		if !strings.HasPrefix(p.Type, "text/") || left <= 0 {
			continue
		}
		text := p.Text[:min(len(p.Text), left)]
		left -= len(text)
		x.words(prefixWord, text, true)
		if p.Type == "text/html" {
			x.tags(p.Body)
		}
	}
}

// tags takes the names of tags and attributes, and colours.
func (x *extractor) tags(body []byte) {
	body = body[:min(len(body), 2*maxText)]
	inTag, n := false, 0
	for i := 0; i < len(body) && n < maxTags; i++ {
		if !inTag {
			next := bytes.IndexByte(body[i:], '<')
			if next < 0 {
				return
			}
			inTag, i = true, i+next
			continue
		}
		c := body[i]
		switch {
		case c == '>':
			inTag = false
		case isLetter(c):
			start := i
			for i < len(body) && (isLetter(body[i]) || body[i] == '-') {
				i++
			}
			x.token(prefixTag, lower(string(body[start:min(i, start+maxWord)])))
			n++
			i--
		case c == '#' && i+7 <= len(body):
			x.token(prefixTag, lower(string(body[i:i+7])))
			n++
			i += 6
		}
	}
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func (x *extractor) links(v *mimeview.View) {
	urls := v.URLs()
	for _, u := range urls[:min(len(urls), maxURLs)] {
		_, rest, ok := strings.Cut(u, "://")
		if !ok {
			rest = u
		}
		host, path, _ := strings.Cut(rest, "/")
		host = strings.ToLower(host[strings.LastIndexByte(host, '@')+1:])
		host, port, _ := strings.Cut(host, ":")
		if port != "" {
			x.token(prefixHost, ":"+port)
		}
		x.token(prefixHost, host)
		labels := strings.Split(host, ".")
		if n := len(labels); n >= 2 {
			x.token(prefixHost, labels[n-2]+"."+labels[n-1])
			x.token(prefixHost, "."+labels[n-1])
		}
		x.words(prefixPath, path[:min(len(path), 100)], false)
	}
}
