package relay

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strings"

	"postern/internal/mail"
)

// Bounds of a reply. RFC 5321 section 4.5.3.1.5 allows 512 octets a line; real servers go over it.
const (
	maxReplyLine  = 2 << 10
	maxReplyLines = 100
)

// readReply reads one reply: RFC 5321 section 4.2.1. Anything else than a whole and well-formed one is an error.
func readReply(r *bufio.Reader) (mail.Reply, error) {
	var reply mail.Reply
	var text strings.Builder
	for n := 0; ; n++ {
		if n == maxReplyLines {
			return mail.Reply{}, fmt.Errorf("%w: more than %d lines", errGarbled, maxReplyLines)
		}
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return mail.Reply{}, fmt.Errorf("%w: line of more than %d octets", errGarbled, maxReplyLine)
		}
		if err != nil {
			return mail.Reply{}, err
		}
		code, more, rest, ok := splitReplyLine(line)
		// RFC 5321 section 4.2.1: all lines of a reply have the same code.
		if !ok || n > 0 && code != reply.Code {
			return mail.Reply{}, fmt.Errorf("%w: %.80q", errGarbled, line)
		}
		if n == 0 {
			reply.Code = code
			reply.Enhanced = enhancedCode(rest, line[0])
		} else {
			text.WriteByte('\n')
		}
		// RFC 2034 section 4: each line of a reply repeats the enhanced code.
		if reply.Enhanced != "" {
			rest = bytes.TrimPrefix(rest, []byte(reply.Enhanced))
			rest = bytes.TrimPrefix(rest, []byte(" "))
		}
		text.Write(rest)
		if !more {
			reply.Text = text.String()
			return reply, nil
		}
	}
}

// splitReplyLine takes a line apart: three digits, "-" or " " or the line's end, text. A bare LF ends a line too, since
// what an inner server says in reply can't smuggle anything: only whole replies count.
func splitReplyLine(line []byte) (code int, more bool, text []byte, ok bool) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) < 3 || line[0] < '2' || line[0] > '5' {
		return 0, false, nil, false
	}
	for _, c := range line[:3] {
		if c < '0' || c > '9' {
			return 0, false, nil, false
		}
		code = code*10 + int(c-'0')
	}
	if len(line) == 3 {
		return code, false, nil, true
	}
	if line[3] != ' ' && line[3] != '-' {
		return 0, false, nil, false
	}
	return code, line[3] == '-', line[4:], true
}

// enhancedCode finds the enhanced status code in front of the text: RFC 3463 section 2. Its class must be the reply's.
func enhancedCode(text []byte, class byte) string {
	word, _, _ := bytes.Cut(text, []byte(" "))
	parts := bytes.Split(word, []byte("."))
	if len(parts) != 3 || len(parts[0]) != 1 || parts[0][0] != class {
		return ""
	}
	for _, p := range parts {
		if len(p) < 1 || len(p) > 3 {
			return ""
		}
		for _, c := range p {
			if c < '0' || c > '9' {
				return ""
			}
		}
	}
	return string(word)
}
