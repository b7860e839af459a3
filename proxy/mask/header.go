package mask

import (
	"bytes"
	"strings"

	"postern/internal/mail"
)

const (
	// maxLine is the longest line that is kept of a part's header: RFC 5322 section 2.1.1.
	maxLine = 998
	// maxName is the longest name of a field that is kept.
	maxName = 76
)

// topHeader finds the first octet that any reader could take for the body's. sure says that all readers agree on it.
func topHeader(m *mail.Message) (end int64, sure bool) {
	raw, err := m.Head(mail.MaxHeaderBytes)
	if err != nil {
		return 0, false
	}
	at, clean := 0, plainHeader(m.Header())
	for first := true; at < len(raw); first = false {
		line, next, crlf := cutLine(raw, at)
		clean = clean && crlf
		switch {
		case len(line) == 0: // RFC 5322 section 2.1: the body follows the first empty line
			return int64(next), clean && int64(next) == m.BodyOffset()
		case !fieldLine(line, first):
			return int64(at), false
		}
		at = next
	}
	return int64(at), clean && int64(at) == m.Size() // over the limit, or nothing but a header
}

// plainHeader says whether the lexer of record saw nothing that readers would disagree on.
func plainHeader(h *mail.Header) bool {
	for _, d := range h.Defects {
		if d != mail.DefectControl {
			return false
		}
	}
	return true
}

// cutLine gives the line at an offset and where the next begins. A line ends at CRLF, LF or CR, whichever comes.
func cutLine(raw []byte, at int) (line []byte, next int, crlf bool) {
	rest := raw[at:]
	i := bytes.IndexAny(rest, "\r\n")
	switch {
	case i < 0:
		return rest, len(raw), false
	case rest[i] == '\r' && i+1 < len(rest) && rest[i+1] == '\n':
		return rest[:i], at + i + 2, true
	}
	return rest[:i], at + i + 1, false
}

// fieldLine says whether every reader takes the line for part of a header: a name and a colon, or a fold that is not
// blank.
func fieldLine(line []byte, first bool) bool {
	if line[0] == ' ' || line[0] == '\t' {
		return !first && len(bytes.Trim(line, " \t\x00\v\f")) > 0
	}
	name, _, colon := bytes.Cut(line, []byte(":"))
	return colon && len(name) > 0 && !bytes.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// partHeader gives the header of a part with all blanked that does not say what the part is. inner is the header of a
// message within the message, whose fields stay: the server tells them all in its ENVELOPE. Not ok is a header that
// readers could end elsewhere.
func partHeader(raw []byte, inner bool) (kept []byte, ok bool) {
	kept = bytes.Clone(raw)
	keep := false
	for at, first := 0, true; at < len(raw); first = false {
		line, next, crlf := cutLine(raw, at)
		switch {
		case !crlf && next < len(raw):
			return nil, false
		case len(line) == 0:
			return kept, next == len(raw)
		case !fieldLine(line, first):
			return nil, false
		}
		from := 1
		if line[0] != ' ' && line[0] != '\t' {
			name, _, _ := bytes.Cut(line, []byte(":"))
			if from = len(name) + 1; len(name) > maxName {
				return nil, false
			}
			keep = inner || structural(string(name))
		}
		if !keep || len(line) > maxLine {
			blankLine(kept[at:at+len(line)], from)
		}
		at = next
	}
	return kept, true
}

// structural says whether a field is one that BODYSTRUCTURE tells: RFC 9051 section 7.5.2.
func structural(name string) bool {
	switch strings.ToLower(name) {
	case "content-type", "content-transfer-encoding", "content-disposition", "content-id", "content-description",
		"content-location", "content-language", "content-md5":
		return true
	}
	return false
}

// blankLine overwrites a line from an offset on. A fold stays one: a line of spaces would end the header for some.
func blankLine(line []byte, from int) {
	for i := from; i < len(line); i++ {
		line[i] = ' '
	}
	if line[0] == ' ' || line[0] == '\t' {
		line[len(line)-1] = '-'
	}
}
