package views

import (
	"strings"
)

// Mailbox is a mailbox in an address field. Addressed and Named say which of its parts are there.
type Mailbox struct {
	Address, Phrase  string
	Addressed, Named bool
}

// ParseMailboxes reads the mailboxes of an address field as it came, forgivingly: what follows no grammar is a phrase
// without an address.
func ParseMailboxes(field string) []Mailbox {
	text := strings.TrimRight(field, " \t\n\r\f\v")
	text = stripGroup(strings.ReplaceAll(text, `\\`, ""))
	if blank(text) {
		return nil
	}
	var all []Mailbox
	for len(all) < 1000 {
		box, n := nextMailbox(text)
		if n == 0 {
			break
		}
		all = append(all, box.settle())
		text = text[n:]
	}
	// what is left holds addresses in angle brackets, or nothing of use
	for i := strings.IndexByte(text, '<'); i >= 0; i = strings.IndexByte(text, '<') {
		text = text[i+1:]
		if n := addressLength(text); n > 0 && stands(text, n, '>') && validAddress(text[:n]) {
			all = append(all, Mailbox{Address: oneAt(text[:n]), Addressed: true})
			text = text[n+1:]
		}
	}
	return all
}

// stripGroup takes off the name of a group in front, and the end of an empty one.
func stripGroup(text string) string {
	end := strings.IndexAny(text, `"()<>`)
	if end < 0 {
		end = len(text)
	}
	colon := strings.LastIndexByte(text[:end], ':')
	if colon <= 0 {
		return text
	}
	rest := strings.TrimLeft(text[colon+1:], " \t\n\r\f\v")
	if strings.HasPrefix(rest, ";") {
		return ""
	}
	return rest
}

// draft is a mailbox as it was written.
type draft struct {
	phrase, address, comment    string
	hasPhrase, hasAddr, hasNote bool
	bracketed                   bool
}

// nextMailbox reads one mailbox and the comma behind it, and gives their length, 0 if nothing can be read.
func nextMailbox(text string) (draft, int) {
	start := skipSpace(text, 0)
	end := phraseEnd(text, start)
	// a phrase and an address in brackets, the phrase optional
	if at := end; at < len(text) && text[at] == '<' {
		d := draft{phrase: text[start:end], hasPhrase: end > start, bracketed: true, hasAddr: true}
		if n := d.bracket(text, at); n > 0 {
			return d, n
		}
	}
	if n := addressLength(text[start:]); n > 0 {
		d := draft{address: text[start : start+n], hasAddr: true}
		if n := d.finish(text, start+n); n > 0 {
			return d, n
		}
	}
	if end > start {
		d := draft{phrase: text[start:end], hasPhrase: true}
		if n := d.finish(text, end); n > 0 {
			return d, n
		}
	}
	return draft{}, 0
}

func skipSpace(text string, i int) int {
	for i < len(text) && isSpace(text[i]) {
		i++
	}
	return i
}

// quotedEnd gives the offset behind a quoted string, or i if none begins there.
func quotedEnd(text string, i int) int {
	if i >= len(text) || text[i] != '"' {
		return i
	}
	for j := i + 1; j < len(text); j++ {
		switch text[j] {
		case '"':
			return j + 1
		case '\\':
			j++
		}
	}
	return i
}

// phraseEnd is where quoted strings and text without commas, semicolons and brackets end.
func phraseEnd(text string, i int) int {
	for i < len(text) {
		j := quotedEnd(text, i)
		for j < len(text) && !strings.ContainsRune(`",;<`, rune(text[j])) {
			j++
		}
		if j == i {
			break
		}
		i = j
	}
	return i
}

// bracket reads <address>: up to the last closing bracket behind which the mailbox can end.
func (d *draft) bracket(text string, open int) int {
	start := skipSpace(text, open+1)
	soft := before(text, start, "@>") // up to here blanks may stand within
	hard := wordEnd(text, soft)
	try := func(end int) int {
		inner := text[start:end]
		if trimmed := strings.TrimRight(inner, " \t\n\r\f\v"); trimmed != "" {
			inner = trimmed
		}
		d.address = inner
		return d.finish(text, moreBrackets(text, end+1))
	}
	if end := skipSpace(text, hard); end > hard && stands(text, end, '>') {
		if n := try(end); n > 0 {
			return n
		}
	}
	for end := hard - 1; end >= soft; end-- {
		if text[end] == '>' {
			if n := try(end); n > 0 {
				return n
			}
		}
	}
	return 0
}

// moreBrackets skips further addresses in brackets right behind one.
func moreBrackets(text string, i int) int {
	for {
		j := skipSpace(text, i)
		if !stands(text, j, '<') {
			return i
		}
		j = skipSpace(text, j+1)
		k := wordEnd(text, quotedEnd(text, j))
		if after := skipSpace(text, k); stands(text, after, '>') {
			i = after + 1
			continue
		}
		end := strings.LastIndexByte(text[j:k], '>')
		if end < 0 {
			return i
		}
		i = j + end + 1
	}
}

// finish reads a comment and what parts mailboxes; it gives 0 if something else stands there.
func (d *draft) finish(text string, i int) int {
	d.hasNote = false
	j := skipSpace(text, i)
	if j < len(text) && text[j] == '(' {
		if end := commentEnd(text, j); end > j {
			d.comment, d.hasNote = text[j+1:end-1], true
			j = skipSpace(text, end)
		}
	}
	switch {
	case j == len(text):
		return j
	case text[j] == ',' || text[j] == ';':
		return j + 1
	}
	return 0
}

// commentEnd gives the offset behind a comment without comments in it, or i.
func commentEnd(text string, i int) int {
	for j := i + 1; j < len(text); j++ {
		switch text[j] {
		case ')':
			return j + 1
		case '(':
			return i
		case '\\':
			j++
		}
	}
	return i
}

func dropComments(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		if text[i] == '(' {
			if end := commentEnd(text, i); end > i {
				i = end
				continue
			}
		}
		b.WriteByte(text[i])
		i++
	}
	return b.String()
}

// addressLength is the length of a bare address at the front, 0 if there is none.
func addressLength(text string) int {
	i := quotedEnd(text, 0)
	if i == 0 {
		i = wordLength(text, `@<>()[],:;`)
	}
	if i == 0 || i >= len(text) || text[i] != '@' {
		return 0
	}
	i++
	n := wordLength(text[i:], `"<>()[],:;`)
	if strings.HasPrefix(text[i:], "[") {
		n = literalLength(text[i:])
	}
	if n == 0 {
		return 0
	}
	return i + n
}

// wordLength is the length of a text without white space and other marks at the front.
func wordLength(text, marks string) (n int) {
	for n < len(text) && !isSpace(text[n]) && strings.IndexByte(marks, text[n]) < 0 {
		n++
	}
	return n
}

// literalLength is the length of an address in brackets.
func literalLength(text string) int {
	n := 1
	for n < len(text) && (text[n] >= '0' && text[n] <= '9' || text[n] == ':' || text[n] == '.') {
		n++
	}
	if n > 1 && n < len(text) && text[n] == ']' {
		return n + 1
	}
	return 0
}

func validAddress(address string) bool {
	return !strings.HasPrefix(address, `""@`) && strings.Count(address, `"`) != 1
}

// oneAt cuts an address at its second @.
func oneAt(address string) string {
	local, domain, _ := strings.Cut(address, "@")
	domain, _, _ = strings.Cut(domain, "@")
	return local + "@" + domain
}

// settle makes a mailbox of what was written.
func (d draft) settle() (box Mailbox) {
	if d.bracketed {
		d.address = dropComments(d.address)
		d.hasAddr = addressLength(d.address) == len(d.address) && d.address != ""
	}
	if !validAddress(d.address) {
		d.hasAddr = false
	}
	if d.hasPhrase {
		d.settlePhrase()
	}
	if !d.hasPhrase && d.hasNote {
		d.phrase, d.hasPhrase = d.comment, true
	}
	box.Phrase, box.Named = d.phrase, d.hasPhrase
	if d.hasAddr {
		box.Address, box.Addressed = oneAt(d.address), true
	}
	return box
}

// settlePhrase unquotes the phrase. One that is an address is the address if there is no other, and one that repeats it says
// nothing.
func (d *draft) settlePhrase() {
	d.phrase = unquote(d.phrase)
	switch {
	case !d.hasAddr && isAddress(d.phrase):
		d.address, d.hasAddr, d.hasPhrase = d.phrase, true, false
	case d.phrase == "", d.hasAddr && d.phrase == d.address:
		d.hasPhrase = false
	}
}

// isAddress says whether a text is nothing but an address that can be.
func isAddress(text string) bool {
	return addressLength(text) == len(text) && validAddress(text) && ValidName(domainOf(text))
}

func domainOf(address string) string {
	_, domain, _ := strings.Cut(address, "@")
	domain, _, _ = strings.Cut(domain, "@")
	return domain
}

// unquote takes off quotes and, outside of them, comments.
func unquote(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		if end := quotedEnd(text, i); end > i {
			inner := text[i+1 : end-1]
			if strings.Contains(inner, `\`) {
				inner = unescape(inner)
			}
			b.WriteString(inner)
			i = end
			continue
		}
		if text[i] == '"' {
			i++
			continue
		}
		end := i
		for end < len(text) && text[end] != '"' {
			end++
		}
		b.WriteString(dropComments(text[i:end]))
		i = end
	}
	return b.String()
}

func unescape(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && (i+1 == len(text) || text[i+1] != '\\') {
			continue
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// ValidName says whether a text can be the name of a host: two labels or more of letters, digits, hyphens and, further
// left, underscores.
func ValidName(host string) bool {
	host = strings.TrimRight(host, ".")
	if len(host) > 253 {
		return false
	}
	labels := strings.Split(host, ".")
	if len(labels) < 2 {
		return false
	}
	for i, l := range labels {
		if underscores := len(labels)-i > 2; !validLabel(l, underscores) {
			return false
		}
	}
	return true
}

// validLabel says whether a text can be a label of a host name (RFC 1123 section 2.1), underscores allowed or not.
func validLabel(label string, underscores bool) bool {
	if label == "" || len(label) > 63 {
		return false
	}
	if label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for i := range len(label) {
		switch c := label[i]; {
		case c == '-', c == '_' && underscores:
		case c == '_' || !isWordByte(c):
			return false
		}
	}
	return true
}
