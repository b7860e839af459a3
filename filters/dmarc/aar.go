package dmarc

import (
	"slices"
	"strconv"
	"strings"

	"postern/internal/mail"
)

// maxInstances is the longest ARC chain: RFC 8617 section 5.
const maxInstances = 50

// vouched names the trusted sealer that saw DMARC pass for this author domain, "" if there is none. The chain must be
// good as a whole, and from the top down to that sealer everyone must be trusted: who sealed later could have put
// anything into the sets below (RFC 8617 section 9.2).
func (f filter) vouched(tx *mail.Transaction, domain string) string {
	if len(f.settings.TrustedSealers) == 0 || !chainPasses(tx.AllFindings()) {
		return ""
	}
	seals, results := map[int]string{}, map[int]string{}
	top := 0
	for _, field := range tx.Message.Header().Fields {
		switch {
		case field.Is("ARC-Seal"):
			tags := tagList(field.Value())
			if i := instance(tags["i"]); i > 0 {
				seals[i] = mail.ASCIIDomain(tags["d"])
				top = max(top, i)
			}
		case field.Is("ARC-Authentication-Results"):
			first, rest, _ := strings.Cut(field.Value(), ";")
			if i := instance(tagList(first)["i"]); i > 0 {
				results[i] = rest
			}
		}
	}
	for i := top; i > 0 && slices.Contains(f.settings.TrustedSealers, seals[i]); i-- {
		if saysPass(results[i], domain) {
			return seals[i]
		}
	}
	return ""
}

// chainPasses says whether the filter for ARC found the whole chain good.
func chainPasses(findings []mail.Finding) bool {
	for _, f := range findings {
		value, ok := f.Value.(mail.AuthResulter)
		if !ok {
			continue
		}
		for _, r := range value.AuthResults() {
			if r.Method == "arc" {
				return r.Result == "pass"
			}
		}
	}
	return false
}

func instance(text string) int {
	i, err := strconv.Atoi(text)
	if err != nil || i > maxInstances {
		return 0
	}
	return i
}

// tagList reads "a=b; c=d", the first of each name: RFC 6376 section 3.2.
func tagList(text string) map[string]string {
	tags := map[string]string{}
	for spec := range strings.SplitSeq(text, ";") {
		name, value, ok := strings.Cut(spec, "=")
		name = strings.TrimSpace(name)
		if _, again := tags[name]; ok && !again {
			tags[name] = strings.TrimSpace(value)
		}
	}
	return tags
}

// saysPass looks into the text of an Authentication-Results field (RFC 8601 section 2.2), behind the instance of an AAR,
// for a result of DMARC: pass, for this author domain and no other. Quoted strings and comments can't pretend to be one.
func saysPass(text, domain string) bool {
	passed := false
	for _, words := range resinfos(text) {
		if len(words) == 0 || !strings.HasPrefix(strings.ToLower(words[0]), "dmarc=") {
			continue
		}
		from := ""
		for _, w := range words[1:] {
			if name, value, _ := strings.Cut(w, "="); strings.EqualFold(name, "header.from") {
				if from != "" {
					return false
				}
				from = value
			}
		}
		if !strings.EqualFold(words[0], "dmarc=pass") || mail.ASCIIDomain(from[strings.LastIndexByte(from, '@')+1:]) != domain {
			return false
		}
		passed = true
	}
	return passed
}

// resinfos cuts the field into its parts between semicolons, and each into words, comments dropped. White space around
// "=" belongs to no word. The first part is the authserv-id.
func resinfos(text string) [][]string {
	parts := [][]string{nil}
	var word strings.Builder
	flush := func() {
		if word.Len() > 0 {
			last := &parts[len(parts)-1]
			*last = append(*last, word.String())
			word.Reset()
		}
	}
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && (quoted || depth > 0):
			i++
			if quoted && i < len(text) {
				word.WriteByte('?') // what is escaped is never part of a name we look for
			}
		case quoted:
			if c == '"' {
				quoted = false
			} else if c == ' ' || c == '=' || c == ';' {
				word.WriteByte('?')
			} else {
				word.WriteByte(c)
			}
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth > 0:
		case c == '"':
			quoted = true
		case c == ';':
			flush()
			parts = append(parts, nil)
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			for i+1 < len(text) && strings.IndexByte(" \t\r\n", text[i+1]) >= 0 {
				i++
			}
			if !(i+1 < len(text) && text[i+1] == '=') && !strings.HasSuffix(word.String(), "=") {
				flush()
			}
		default:
			word.WriteByte(c)
		}
	}
	flush()
	return parts
}
