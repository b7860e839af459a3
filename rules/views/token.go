package views

import (
	"strings"
)

// token is a piece of HTML. It is cut as Perl's HTML::Parser cuts it, which is neither what browsers do nor HTML 5: rules
// about tags and comments were written by what it gives.
type token struct {
	kind  tokenKind
	name  string // of a tag, in lower case
	attrs []attribute
	text  string
}

type tokenKind int

const (
	tokenText tokenKind = iota
	tokenStart
	tokenEnd
	tokenComment
	tokenDeclaration
)

type attribute struct{ name, value string }

// get is the value of an attribute.
func (t *token) get(name string) (string, bool) {
	for _, a := range t.attrs {
		if a.name == name {
			return a.value, true
		}
	}
	return "", false
}

// tokenizer cuts HTML.
type tokenizer struct {
	text string
	at   int
	// literal is the element in which everything up to its end tag is text; raw says that entities stand for themselves.
	literal string
	raw     bool
	// late says that comments may end at a bare bracket: the text has no proper end for them.
	late bool
}

// literalElement says whether markup within an element is text, and whether entities are, too.
func literalElement(name string) (is, raw bool) {
	switch name {
	case "script", "style", "xmp", "iframe", "plaintext":
		return true, true
	case "title", "textarea":
		return true, false
	}
	return false, false
}

// next gives the next piece; it says false at the end.
func (z *tokenizer) next() (token, bool) {
	for z.at < len(z.text) {
		if z.literal != "" {
			if t, ok := z.literalText(); ok {
				return t, true
			}
			continue
		}
		if z.text[z.at] == '<' {
			if t, shown := z.markup(); t != nil {
				if shown {
					return *t, true
				}
				continue
			}
		}
		start := z.at
		if i := strings.IndexByte(z.text[start+1:], '<'); i >= 0 {
			z.at = start + 1 + i
		} else {
			z.at = len(z.text)
		}
		return token{kind: tokenText, text: decodeEntities(z.text[start:z.at])}, true
	}
	return token{}, false
}

// literalText gives the text up to the end tag, or the end tag.
func (z *tokenizer) literalText() (token, bool) {
	end, size := z.literalEnd()
	if end < 0 && z.literal != "plaintext" { // without an end tag it ends where it began
		name := z.literal
		z.literal = ""
		return token{kind: tokenEnd, name: name}, true
	}
	if end < 0 {
		end = len(z.text)
	}
	if end > z.at {
		text := z.text[z.at:end]
		if !z.raw {
			text = decodeEntities(text)
		}
		z.at = end
		return token{kind: tokenText, text: text}, true
	}
	name := z.literal
	z.literal = ""
	z.at += size
	return token{kind: tokenEnd, name: name}, true
}

// literalEnd finds the end tag.
func (z *tokenizer) literalEnd() (at, size int) {
	if z.literal == "plaintext" {
		return -1, 0
	}
	for from := z.at; ; {
		i := strings.Index(z.text[from:], "</")
		if i < 0 {
			return -1, 0
		}
		from += i
		j := from + 2 + len(z.literal)
		if j <= len(z.text) && strings.EqualFold(z.text[from+2:j], z.literal) {
			k := skipSpace(z.text, j)
			if k < len(z.text) && z.text[k] == '>' {
				return from, k + 1 - from
			}
		}
		from += 2
	}
}

// markup reads what begins with a bracket: nil if it is none. Shown says whether it is reported.
func (z *tokenizer) markup() (t *token, shown bool) {
	rest := z.text[z.at+1:]
	if rest == "" {
		return z.unfinished(), true
	}
	switch c := rest[0]; {
	case isNameStart(c):
		return z.startTag(), true
	case c == '/':
		return z.endTag(), true
	case c == '!':
		return z.declaration(), true
	case c == '?':
		if i := strings.IndexByte(rest, '>'); i >= 0 {
			z.at += i + 2
			return &token{}, false
		}
		return z.unfinished(), true
	}
	return nil, false
}

// unfinished makes the rest a comment.
func (z *tokenizer) unfinished() *token {
	t := &token{kind: tokenComment, text: z.text[z.at:]}
	z.at = len(z.text)
	return t
}

func isNameStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == ':'
}

// startTag reads a tag with its attributes.
func (z *tokenizer) startTag() *token {
	s := z.text
	i := z.at + 1
	for i < len(s) && !isSpace(s[i]) && s[i] != '>' {
		i++
	}
	t := &token{kind: tokenStart, name: strings.ToLower(s[z.at+1 : i])}
	i = skipSpace(s, i)
	for i < len(s) && s[i] != '>' {
		var ok bool
		if i, ok = z.attribute(t, i); !ok {
			return z.unfinished()
		}
	}
	if i >= len(s) {
		return z.unfinished()
	}
	z.at = i + 1
	if is, raw := literalElement(t.name); is {
		z.literal, z.raw = t.name, raw
	}
	return t
}

// attribute reads one attribute and the white space behind it. Of two of a name the first counts.
func (z *tokenizer) attribute(t *token, i int) (next int, ok bool) {
	s := z.text
	start := i
	i++
	for i < len(s) && !isSpace(s[i]) && s[i] != '=' && s[i] != '>' {
		i++
	}
	name := strings.ToLower(s[start:i])
	value := name
	i = skipSpace(s, i)
	if stands(s, i, '=') {
		value, i, ok = attributeValue(s, skipSpace(s, i+1))
		if !ok {
			return i, false
		}
		value = decodeEntities(value)
		i = skipSpace(s, i)
	}
	if _, twice := t.get(name); !twice {
		t.attrs = append(t.attrs, attribute{name, value})
	}
	return i, true
}

// attributeValue reads a value, in quotes or not; it says false for one without an end.
func attributeValue(s string, i int) (value string, next int, ok bool) {
	if i >= len(s) {
		return "", i, false
	}
	if isQuote(s[i]) {
		end := strings.IndexByte(s[i+1:], s[i])
		if end < 0 {
			return "", i, false
		}
		return s[i+1 : i+1+end], i + end + 2, true
	}
	begin := i
	for i < len(s) && !isSpace(s[i]) && s[i] != '>' {
		i++
	}
	return s[begin:i], i, true
}

// endTag reads an end tag, or a comment that begins like one.
func (z *tokenizer) endTag() *token {
	s := z.text
	i := z.at + 2
	start := i
	for i < len(s) && !isSpace(s[i]) && s[i] != '>' {
		i++
	}
	name := s[start:i]
	end := untilBracket(s, i)
	if end < 0 {
		return z.unfinished()
	}
	t := &token{kind: tokenEnd, name: strings.ToLower(name)}
	if name == "" {
		t = &token{kind: tokenComment, text: s[z.at : end+1]}
	}
	z.at = end + 1
	return t
}

// untilBracket finds a closing bracket that stands in no quotes.
func untilBracket(s string, i int) int {
	var quote, before byte = 0, ' '
	for ; i < len(s); i++ {
		c := s[i]
		if c == '>' && quote == 0 {
			return i
		}
		if c == '"' || c == '\'' {
			if c == quote {
				quote = 0
			} else if quote == 0 && (before == ' ' || before == '=') {
				quote = c
			}
		}
		before = c
	}
	return -1
}

// declaration reads <!...>: a comment, a document type, a marked section.
func (z *tokenizer) declaration() *token {
	rest := z.text[z.at+2:]
	switch {
	case strings.HasPrefix(rest, "--"):
		return z.comment()
	case strings.HasPrefix(rest, "["):
		if len(rest) >= 7 && strings.EqualFold(rest[:7], "[cdata[") {
			return z.section(7)
		}
	case len(rest) >= 7 && strings.EqualFold(rest[:7], "doctype"):
		if end := untilBracket(rest, 0); end >= 0 {
			t := &token{kind: tokenDeclaration, text: z.text[z.at : z.at+2+end+1]}
			z.at += end + 3
			return t
		}
	}
	end := strings.IndexByte(rest, '>')
	if end < 0 {
		return z.unfinished()
	}
	t := &token{kind: tokenComment, text: z.text[z.at : z.at+2+end+1]}
	z.at += end + 3
	return t
}

// section gives the text of a CDATA section.
func (z *tokenizer) section(front int) *token {
	start := z.at + 2 + front
	end := strings.Index(z.text[start:], "]]>")
	if end < 0 {
		return z.unfinished()
	}
	z.at = start + end + 3
	return &token{kind: tokenText, text: z.text[start : start+end]}
}

// comment ends at two hyphens, white space and a bracket; if there are none, at a bracket.
func (z *tokenizer) comment() *token {
	s := z.text
	if !z.late {
		for i := z.at + 4; ; {
			j := strings.Index(s[i:], "--")
			if j < 0 {
				break
			}
			i += j
			if k := skipSpace(s, i+2); k < len(s) && s[k] == '>' {
				t := &token{kind: tokenComment, text: s[z.at : k+1]}
				z.at = k + 1
				return t
			}
			i++
		}
		z.late = true
	}
	end := strings.IndexByte(s[z.at:], '>')
	if end < 0 {
		return z.unfinished()
	}
	t := &token{kind: tokenComment, text: s[z.at : z.at+end+1]}
	z.at += end + 1
	return t
}
