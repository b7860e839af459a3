package spf

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// LookupTXT checks the grammar of an SPF record before anything of it is evaluated: RFC 7208 section 4.6 wants a syntax
// error anywhere in it to be a permanent error. The library reads only as far as it needs to.
func (r family) LookupTXT(ctx context.Context, name string) ([]string, error) {
	texts, err := r.Resolver.LookupTXT(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, text := range texts {
		if version, terms, _ := strings.Cut(text, " "); strings.EqualFold(version, "v=spf1") {
			if err := checkTerms(terms); err != nil {
				return nil, fmt.Errorf("the record of %s: %w", name, err)
			}
		}
	}
	return texts, nil
}

// checkTerms holds a record against the grammar of RFC 7208 section 12.
func checkTerms(text string) error {
	for i := range len(text) {
		if text[i] < ' ' || text[i] >= 0x7f {
			return errors.New("characters that are not printable ASCII")
		}
	}
	given := map[string]bool{}
	for term := range strings.SplitSeq(text, " ") {
		if term == "" {
			continue
		}
		name, value, ok := strings.Cut(term, "=")
		if !ok || !isModifierName(name) {
			if !checkDirective(term) {
				return fmt.Errorf("can't read %q", term)
			}
			continue
		}
		name = strings.ToLower(name)
		valid := isMacroString(value)
		if name == "redirect" || name == "exp" {
			// RFC 7208 section 6: each of them once at most
			valid = isDomainSpec(value) && !given[name]
			given[name] = true
		}
		if !valid {
			return fmt.Errorf("can't read %q", term)
		}
	}
	return nil
}

func isModifierName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if !isAlpha(c) && (i == 0 || !isNumeral(c) && c != '-' && c != '_' && c != '.') {
			return false
		}
	}
	return name != ""
}

func checkDirective(term string) bool {
	if strings.IndexByte("+-?~", term[0]) >= 0 {
		term = term[1:]
	}
	end := strings.IndexAny(term, ":/")
	if end < 0 {
		end = len(term)
	}
	name, rest := strings.ToLower(term[:end]), term[end:]
	domain, hasDomain := strings.CutPrefix(rest, ":")
	switch name {
	case "all":
		return rest == ""
	case "include", "exists":
		return hasDomain && isDomainSpec(domain)
	case "ptr":
		return rest == "" || hasDomain && isDomainSpec(domain)
	case "a", "mx":
		rest, ok := cutCIDR(rest)
		domain, hasDomain = strings.CutPrefix(rest, ":")
		return ok && (rest == "" || hasDomain && isDomainSpec(domain))
	case "ip4", "ip6":
		return hasDomain && isNetwork(domain, name == "ip4")
	}
	return false
}

// cutCIDR takes the dual-cidr-length from the end: [ "/" ip4-cidr ] [ "//" ip6-cidr ].
func cutCIDR(text string) (rest string, ok bool) {
	if i := strings.LastIndex(text, "//"); i >= 0 {
		if !isLength(text[i+2:], 128) {
			return text, false
		}
		text = text[:i]
	}
	if i := strings.LastIndexByte(text, '/'); i >= 0 && isDigits(text[i+1:]) {
		if !isLength(text[i+1:], 32) {
			return text, false
		}
		text = text[:i]
	}
	return text, true
}

// isLength wants a number without leading zeros.
func isLength(text string, most int) bool {
	n, err := strconv.Atoi(text)
	return err == nil && isDigits(text) && n <= most && (text == "0" || text[0] != '0')
}

func isDigits(text string) bool {
	for i := range len(text) {
		if !isNumeral(text[i]) {
			return false
		}
	}
	return text != ""
}

func isNetwork(text string, four bool) bool {
	address, length, has := strings.Cut(text, "/")
	ip, err := netip.ParseAddr(address)
	most := 128
	if four {
		most = 32
	}
	return err == nil && ip.Is4() == four && ip.Zone() == "" && (!has || isLength(length, most))
}

// isDomainSpec wants a macro-string that ends in a macro or in a top label: RFC 7208 section 7.1.
func isDomainSpec(text string) bool {
	if !isMacroString(text) {
		return false
	}
	if strings.HasSuffix(text, "}") && strings.Contains(text, "%{") || strings.HasSuffix(text, "%%") || strings.HasSuffix(text, "%_") || strings.HasSuffix(text, "%-") {
		return true
	}
	text = strings.TrimSuffix(text, ".")
	dot := strings.LastIndexByte(text, '.')
	return dot >= 0 && isTopLabel(text[dot+1:])
}

func isTopLabel(label string) bool {
	notNumeric := false
	for i := range len(label) {
		c := label[i]
		switch {
		case isAlpha(c), c == '-' && i > 0 && i < len(label)-1:
			notNumeric = true
		case isNumeral(c):
		default:
			return false
		}
	}
	return notNumeric
}

// isMacroString is macro-string of RFC 7208 section 7.1.
func isMacroString(text string) bool {
	for text != "" {
		i := strings.IndexByte(text, '%')
		if i < 0 {
			return true
		}
		text = text[i+1:]
		if text == "" {
			return false
		}
		switch text[0] {
		case '%', '_', '-':
			text = text[1:]
			continue
		case '{':
		default:
			return false
		}
		inner, rest, ok := strings.Cut(text[1:], "}")
		if !ok || !isMacro(inner) {
			return false
		}
		text = rest
	}
	return true
}

// isMacro wants a letter, digits that are no zero, "r" and delimiters. The letters c, r and t are for the explanation
// text only.
func isMacro(inner string) bool {
	if inner == "" || !strings.ContainsRune("slodiphvSLODIPHV", rune(inner[0])) {
		return false
	}
	inner = inner[1:]
	n := 0
	for n < len(inner) && isNumeral(inner[n]) {
		n++
	}
	if n > 0 && strings.Trim(inner[:n], "0") == "" {
		return false
	}
	inner = inner[n:]
	if inner != "" && (inner[0] == 'r' || inner[0] == 'R') {
		inner = inner[1:]
	}
	return strings.Trim(inner, ".-+,/_=") == ""
}

func isAlpha(c byte) bool   { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isNumeral(c byte) bool { return c >= '0' && c <= '9' }
