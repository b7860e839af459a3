package app_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"mime/quotedprintable"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
)

// honestCase is one honest message and how it comes.
type honestCase struct {
	kind, title   string // title: the chosen value of each varied name
	from          string // of the envelope
	known         bool   // our user has written to the author before
	unsigned      bool
	unproven      bool     // neither SPF nor DKIM aligns with the author: a bounce has none, a list breaks the author's signature
	open          []string // domains whose DMARC policy is none
	senders       []string // more domains that our client may send for
	message       []byte
	pictures, seq int
}

// honestTemplates reads a file of kinds. Each begins with "==== KIND", then come lines of directives, an empty line, and
// the message, whose lines get CRLF:
//
//	mail ADDRESS             the envelope sender: "<>" is a bounce, without the line bounce@ the author's domain
//	known                    our user wrote to the author before
//	unsigned                 no DKIM; else what has no DKIM-Signature with {bh} gets a plain one of the author's domain
//	unproven                 DMARC need not pass; with it all else must
//	dmarc none DOMAIN        its policy; that of all others is reject
//	sender DOMAIN            a domain whose SPF names the client, too
//	vary A: x | y            one variant for each value; a value "-" is empty, "\n" in it ends a line (CRLF)
//	vary A & B: x & 1 | y & 2    names that vary together
//
// In directives and message {A} stands for the value. Then, in the message:
//
//	{std}                    To, Date, Message-ID and MIME-Version
//	{q CHARSET TEXT}, {b CHARSET TEXT}   an encoded word (RFC 2047); {bs CHARSET TEXT} several, one to a line
//	{pct CHARSET TEXT}       octets as %XX; {pieces NAME CHARSET N TEXT} an RFC 2231 parameter in pieces of N octets
//	{octets CHARSET TEXT}    the text in its charset
//	{random N}               base64 of N octets that no other place has
//	{many N TEXT}            the text N times, "%n" is the number
//	{bh}, {sig N}            in a DKIM-Signature, ARC-Message-Signature or ARC-Seal: filled in, really signed, b= in lines of N
//	{crlf} {sp}              a line's end, a space that an editor would cut
//
// Lines of their own, nested at will:
//
//	@repeat N TEXT           the line N times, "%n" is the number
//	@file KIND [TEXT]        a file as made by honest_made_test.go
//	@base64 N ... @end       the lines between, in base64 lines of N
//	@qp ... @end             in quoted-printable
//	@charset NAME ... @end   in a charset
//	@gzip NAME ... @end, @zip NAME ... @end    a compressed file
//	@lf ... @end             with LF alone, as a text inside base64 often has
func honestTemplates(text string) (all []honestTemplate) {
	for i, part := range strings.Split("\n"+text, "\n==== ") {
		if i == 0 {
			continue // a comment on the file
		}
		kind, rest, _ := strings.Cut(part, "\n")
		lines, body, _ := strings.Cut(rest, "\n\n")
		all = append(all, honestTemplate{kind, strings.Split(lines, "\n"), body})
	}
	return all
}

type honestTemplate struct {
	kind  string
	lines []string
	body  string
}

type choice struct{ names, values []string }

// variants is the cross product of what varies.
func (h honestTemplate) variants() (all []honestCase, err error) {
	sets := [][]choice{nil}
	for _, line := range h.lines {
		rest, ok := strings.CutPrefix(line, "vary ")
		if !ok {
			continue
		}
		names, values, ok := strings.Cut(rest, ": ")
		if !ok {
			return nil, fmt.Errorf("%s: %s", h.kind, line)
		}
		var next [][]choice
		for _, set := range sets {
			for v := range strings.SplitSeq(values, " | ") {
				next = append(next, append(slices.Clone(set), choice{strings.Split(names, " & "), strings.Split(v, " & ")}))
			}
		}
		sets = next
	}
	for i, set := range sets {
		c, err := h.variant(set, i)
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", h.kind, c.title, err)
		}
		all = append(all, c)
	}
	return all, nil
}

func (h honestTemplate) variant(set []choice, seq int) (honestCase, error) {
	c := honestCase{kind: h.kind, seq: seq}
	var pairs []string
	for _, ch := range set {
		if len(ch.names) != len(ch.values) {
			return c, fmt.Errorf("%q for %q", ch.values, ch.names)
		}
		c.title += fmt.Sprintf(" %.40s", strings.Join(ch.values, " "))
		for i, name := range ch.names {
			v := strings.TrimSpace(ch.values[i])
			if v == "-" {
				v = ""
			}
			pairs = append(pairs, "{"+name+"}", strings.NewReplacer(`\n`, "\n", `\t`, "\t").Replace(v))
		}
	}
	fill := strings.NewReplacer(pairs...)
	for _, line := range h.lines {
		word, rest, _ := strings.Cut(fill.Replace(line), " ")
		switch word {
		case "", "#", "vary":
		case "mail":
			c.from = rest
		case "known":
			c.known = true
		case "unsigned":
			c.unsigned = true
		case "unproven":
			c.unproven = true
		case "dmarc":
			c.open = append(c.open, strings.TrimPrefix(rest, "none "))
		case "sender":
			c.senders = append(c.senders, rest)
		default:
			return c, fmt.Errorf("what is %q", line)
		}
	}
	w := &honestWriter{random: rand.New(rand.NewPCG(uint64(seq), uint64(len(h.kind)))), seq: seq}
	c.message = w.lines(strings.Split(fill.Replace(fill.Replace(h.body)), "\n"))
	return c, w.err
}

// honestWriter makes octets of a template's lines.
type honestWriter struct {
	random *rand.Rand
	seq    int
	lf     bool
	err    error
}

func (w *honestWriter) lines(lines []string) []byte {
	var out bytes.Buffer
	end := "\r\n"
	if w.lf {
		end = "\n"
	}
	for i := 0; i < len(lines); i++ {
		word, rest, _ := strings.Cut(lines[i], " ")
		switch word {
		case "@repeat":
			count, text, _ := strings.Cut(rest, " ")
			n, _ := strconv.Atoi(count)
			for k := range n {
				out.WriteString(w.inline(strings.ReplaceAll(text, "%n", strconv.Itoa(k))) + end)
			}
		case "@file":
			kind, text, _ := strings.Cut(rest, " ")
			out.Write(w.made(kind, text))
		case "@base64", "@qp", "@charset", "@gzip", "@zip", "@lf":
			last := closing(lines, i)
			out.Write(w.block(word, rest, lines[i+1:last]))
			i = last
		default:
			out.WriteString(w.inline(lines[i]))
			if i < len(lines)-1 {
				out.WriteString(end)
			}
		}
	}
	return out.Bytes()
}

// closing is where a block ends.
func closing(lines []string, at int) int {
	for depth := 0; at < len(lines); at++ {
		word, _, _ := strings.Cut(lines[at], " ")
		switch {
		case word == "@end":
			if depth--; depth == 0 {
				return at
			}
		case strings.HasPrefix(word, "@") && !slices.Contains([]string{"@repeat", "@file", "@"}, word) && strings.Trim(word, "@abcdefghijklmnopqrstuvwxyz0123456789") == "":
			depth++
		}
	}
	return at - 1
}

func (w *honestWriter) block(word, rest string, lines []string) []byte {
	inner := *w
	inner.lf = w.lf || word == "@lf" || word == "@charset" && w.lf
	text := inner.lines(append(slices.Clone(lines), ""))
	if inner.err != nil {
		w.err = inner.err
	}
	var out bytes.Buffer
	switch word {
	case "@base64":
		width, _ := strconv.Atoi(rest)
		out.WriteString(wrap(base64.StdEncoding.EncodeToString(text), width, "\r\n") + "\r\n")
	case "@qp":
		q := quotedprintable.NewWriter(&out)
		_, _ = q.Write(text)
		_ = q.Close()
	case "@charset":
		out.Write(w.encode(rest, string(text)))
	case "@gzip":
		out.Write(gzipOf(rest, text))
	case "@zip":
		out.Write(zipOf(rest, string(text)))
	default:
		out.Write(text)
	}
	return out.Bytes()
}

func wrap(text string, width int, end string) string {
	if width == 0 {
		return text
	}
	var b strings.Builder
	for at := 0; at < len(text); at += width {
		if at > 0 {
			b.WriteString(end)
		}
		b.WriteString(text[at:min(at+width, len(text))])
	}
	return b.String()
}

func (w *honestWriter) encode(charset, text string) []byte {
	if strings.EqualFold(charset, "us-ascii") {
		return []byte(text)
	}
	e, err := htmlindex.Get(charset)
	if err != nil {
		w.err = fmt.Errorf("charset %s: %w", charset, err)
		return nil
	}
	b, err := encoding.ReplaceUnsupported(e.NewEncoder()).Bytes([]byte(text))
	if err != nil {
		w.err = err
	}
	return b
}

// inline replaces expressions in braces; unknown ones stay.
func (w *honestWriter) inline(line string) string {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(line, "{")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		inner, rest, ok := strings.Cut(after, "}")
		word, args, _ := strings.Cut(inner, " ")
		text, known := w.word(word, args)
		if !ok || !known {
			b.WriteString("{")
			line = after
			continue
		}
		b.WriteString(text)
		line = rest
	}
}

func (w *honestWriter) word(word, args string) (text string, ok bool) {
	first, rest, _ := strings.Cut(args, " ")
	n, _ := strconv.Atoi(first)
	switch word {
	case "std":
		return fmt.Sprintf("To: Ben <ben@ours.test>\r\nDate: %s\r\nMessage-ID: <%d.%d@mail.example>\r\nMIME-Version: 1.0", honestDate, w.seq, w.random.Uint32()), true
	case "crlf":
		return "\r\n", true
	case "sp":
		return " ", true
	case "q":
		return "=?" + first + "?Q?" + qWord(w.encode(first, rest)) + "?=", true
	case "b":
		return "=?" + first + "?B?" + base64.StdEncoding.EncodeToString(w.encode(first, rest)) + "?=", true
	case "bs":
		return w.words(first, rest), true
	case "pct":
		return percent(w.encode(first, rest)), true
	case "pieces":
		charset, rest, _ := strings.Cut(rest, " ")
		width, text, _ := strings.Cut(rest, " ")
		n, _ := strconv.Atoi(width)
		return pieces(first, charset, n, w.encode(charset, text)), true
	case "octets":
		return string(w.encode(first, rest)), true
	case "random":
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(w.random.Uint32())
		}
		return base64.StdEncoding.EncodeToString(b), true
	case "many":
		for k := range n {
			text += strings.ReplaceAll(rest, "%n", strconv.Itoa(k))
		}
		return text, true
	}
	return "", false
}

func (w *honestWriter) words(charset, text string) string {
	var all []string
	for text != "" {
		at := 0
		for at < len(text) && at < 18 {
			_, size := utf8.DecodeRuneInString(text[at:])
			at += size
		}
		all = append(all, "=?"+charset+"?B?"+base64.StdEncoding.EncodeToString(w.encode(charset, text[:at]))+"?=")
		text = text[at:]
	}
	return strings.Join(all, "\r\n ")
}

func qWord(octets []byte) string {
	var b strings.Builder
	for _, c := range octets {
		switch {
		case c == ' ':
			b.WriteByte('_')
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

func percent(octets []byte) string {
	var b strings.Builder
	for _, c := range octets {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// pieces cuts wherever the width says, be it within a character: RFC 2231 section 3.
func pieces(name, charset string, width int, octets []byte) string {
	var all []string
	for n := 0; len(octets) > 0; n++ {
		head := octets[:min(width, len(octets))]
		octets = octets[len(head):]
		start := ""
		if n == 0 {
			start = charset + "''"
		}
		all = append(all, fmt.Sprintf("%s*%d*=%s%s", name, n, start, percent(head)))
	}
	return strings.Join(all, ";\r\n ")
}
