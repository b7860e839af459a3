package mimeview

import (
	"bytes"
	"io"
	"strconv"

	"postern/internal/mail/ascii"
	"postern/internal/mimeview/openpgp"
)

// What OpenPGP holds without a key is read like any content: RFC 3156 section 4 says that the second part of a
// multipart/encrypted is encrypted, and nothing makes it so.
const (
	pgpReading = "OpenPGP without encryption"
	// maxArmored is how long a text may be to be searched for OpenPGP in octets, maxMessages how many may stand in one text.
	maxArmored  = 32 << 20
	maxMessages = 32
)

// openPGP reads what a leaf holds in OpenPGP.
func (w *walker) openPGP(e entity, p *Part, body region, way encoding) {
	within := e.parent != nil && e.parent.Type == "multipart/encrypted"
	if e.src.depth > 4 || !within && !mayBePGP(p) {
		return
	}
	s, at := e.src, body
	if way != plain {
		if s = w.decoded(e.src, body, way, p); s == nil {
			return
		}
		at = region{0, s.size}
	}
	if at.end-at.start > maxArmored {
		w.view.limit(LimitDecoded)
		return
	}
	text := bytes.Clone(s.slice(at.start, int(at.end-at.start)))
	w.spend(int64(len(text)))
	if len(text) > 0 && text[0]&0x80 != 0 {
		w.literals(e, p, bytes.NewReader(text), within)
		return
	}
	w.armored(e, p, text, within)
}

// armored reads the messages that stand in a text: RFC 9580 section 6.
func (w *walker) armored(e entity, p *Part, text []byte, within bool) {
	for n := 0; ; n++ {
		from, end, after, ok := openpgp.Armor(text)
		if !ok {
			return
		}
		if n == maxMessages {
			w.view.limit(LimitReadings)
			return
		}
		w.literals(e, p, bytes.NewReader(decodeAll(base64, text[from:end])), within)
		text = text[after:]
	}
}

// mayBePGP says whether a part can hold OpenPGP: a text, by its first octets that are at hand, or a file by its name or type.
func mayBePGP(p *Part) bool {
	if bytes.Contains(p.Body, []byte("-----BEGIN PGP MESSAGE")) {
		return true
	}
	switch p.Type {
	case "application/pgp-encrypted", "application/pgp", "application/x-pgp-message":
		return true
	}
	for _, n := range p.Names {
		switch ascii.Lower(extension(n)) {
		case "pgp", "gpg", "asc":
			return true
		}
	}
	return false
}

// spooled reads a content, as far as the limits let it.
func (w *walker) spooled(r io.Reader) spool {
	into := spool{dir: w.view.options.Dir}
	room := w.work
	for buf := make([]byte, decodeBlock); !w.stopped(); {
		n, err := r.Read(buf)
		if w.spend(int64(n)); room < into.size {
			break
		}
		if err := into.write(buf[:n]); err != nil {
			w.view.fail(err)
			break
		}
		if err != nil {
			break
		}
	}
	return into
}

// literals makes parts of what stands there for all to read.
func (w *walker) literals(e entity, p *Part, r io.Reader, within bool) {
	found, err := openpgp.Read(r, func(l openpgp.Literal) error {
		into := w.spooled(l.Content)
		made := into.source("OpenPGP at "+strconv.FormatInt(p.Start, 10), e.src.depth+1)
		w.sources = append(w.sources, made)
		w.view.spools = append(w.view.spools, made)
		w.literal(e, p, made, l.Name, within)
		return nil
	})
	if err != nil { // the message's own: it is broken from there on
		w.view.ambiguous(PGPBroken, e.src, p.Start, err.Error())
	}
	if found.Cut {
		w.view.limit(LimitDepth)
	}
	p.Encrypted = p.Encrypted || found.Encrypted && found.Literals == 0
	if found.Literals > 0 && within {
		w.view.ambiguous(PGPPlain, e.src, p.Start, "")
	}
}

// literal reads one: as an entity of its own in a multipart/encrypted (RFC 3156 section 4), else as a text or a file.
func (w *walker) literal(e entity, p *Part, s *source, name string, within bool) {
	if e.depth >= w.view.options.Depth {
		w.view.limit(LimitDepth)
		return
	}
	at := region{0, s.size}
	inner := entity{src: s, at: at, depth: e.depth + 1, parent: p, reading: otherReading(e.reading, pgpReading), fallback: "text/plain", unsure: true}
	if head := headed(s); within || head {
		if w.entity(inner); head {
			return
		}
	}
	f := &facts{kind: "text/plain", encoding: plain, encodings: []encoding{plain}}
	if name != "" && name != "_CONSOLE" { // RFC 9580 section 5.9: for your eyes only
		f.names = []string{name}
	}
	w.body(inner, f, at)
}

// headed says whether a content begins with fields that structure it.
func headed(s *source) bool {
	head := s.slice(0, 400)
	start, _, _ := breakAt(head)
	_, _, ok := structural(head[:start])
	return ok
}
