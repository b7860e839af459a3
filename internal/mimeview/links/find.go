package links

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/net/publicsuffix"

	"postern/internal/mail"
	"postern/internal/mail/ascii"
)

// trailing is what stands behind a link rather than in it.
const trailing = `.,;:!?)]}'*_`

// What the octets of a run of characters without white space may be.
const (
	ends = 1 << iota
	colon
	dot
	slash
	wide
)

// octets says of each octet what it is.
func octets() (kinds [256]uint8) {
	for c := range ' ' + 1 {
		kinds[c] = ends
	}
	for c := utf8.RuneSelf; c < len(kinds); c++ {
		kinds[c] = wide
	}
	kinds['<'], kinds['>'], kinds['"'], kinds['`'] = ends, ends, ends, ends
	kinds[':'], kinds['.'], kinds['/'], kinds['\\'] = colon, dot, slash, slash
	kinds['['], kinds['('], kinds['{'] = wide, wide, wide
	return kinds
}

// Find gives each address in a text to take, until that says that it is enough: those with a scheme, those that begin
// with www., names below a public suffix with a path behind them, and all of these defanged or with odd slashes. It looks
// at each octet a fixed number of times.
func Find(text string, take func(raw string) bool) {
	kinds := octets()
	for at := 0; at < len(text); {
		start, has := at, uint8(0)
		for ; at < len(text); at++ {
			kind := kinds[text[at]]
			if kind == ends {
				break
			}
			has |= kind
		}
		candidate := has != 0 && at-start >= 4 && worthwhile(has, text[start:at])
		if candidate && !inToken(text[start:at], take) {
			return
		}
		at++
	}
}

// worthwhile says whether there may be an address in a run of characters without white space.
func worthwhile(has uint8, token string) bool {
	switch {
	case has&colon != 0 && has&(slash|wide) != 0:
		return true
	case has&dot != 0:
		return has&(slash|wide) != 0 || hasWWW(token)
	}
	return has&wide != 0 && (has&slash != 0 || dotted(token))
}

func hasWWW(token string) bool {
	i := strings.IndexByte(token, '.')
	return i >= 3 && token[i-1]|0x20 == 'w' && token[i-2]|0x20 == 'w'
}

func dotted(token string) bool {
	return strings.Contains(token, "[.") || strings.Contains(token, "dot") || strings.ContainsAny(token, "。．｡")
}

// inToken finds the addresses in a run of characters without white space.
func inToken(token string, take func(string) bool) bool {
	for token != "" {
		start, end := next(token)
		if start < 0 {
			return true
		}
		raw := trimEnd(token[start:end])
		if raw != "" && !take(raw) {
			return false
		}
		token = token[end:]
	}
	return true
}

// opened says whether a text opens at least as many brackets as it closes.
func opened(text, left, right string) bool {
	return strings.Count(text, left) >= strings.Count(text, right)
}

// trimEnd takes off what stands behind the link, but leaves a bracket that was opened in it.
func trimEnd(raw string) string {
	for n := 0; raw != "" && n < 100; n++ {
		c := raw[len(raw)-1]
		if strings.IndexByte(trailing, c) < 0 {
			return raw
		}
		closes := c == ')' && opened(raw, "(", ")")
		if closes || c == ']' && opened(raw, "[", "]") {
			return raw
		}
		raw = raw[:len(raw)-1]
	}
	return raw
}

// next finds the first address in a token; start is below 0 if there is none.
func next(token string) (start, end int) {
	if at := schemeAt(token); at >= 0 {
		return at, min(len(token), at+MaxURL+1)
	}
	limit := min(len(token), MaxURL)
	token = token[:limit]
	start = 0
	for start < limit && strings.IndexByte(`([{*_'|=,;`, token[start]) >= 0 {
		start++
	}
	if bare(token[start:]) {
		return start, limit
	}
	if i := strings.LastIndexAny(token[:max(0, len(token))], `=(|,;'`); i > start && bare(token[i+1:]) {
		return i + 1, limit
	}
	return -1, 0
}

// schemeBefore gives where the letters before a colon start and end; a bracket may stand between, as in hxxp[:]//.
func schemeBefore(token string, colon int) (start, end int) {
	end = colon
	if end > 0 && token[end-1] == '[' {
		end--
	}
	start = end
	for start > 0 && end-start < 10 && inScheme(token[start-1]) {
		start--
	}
	return start, end
}

// inScheme holds for the letters of a scheme, and for the "*" of h**p.
func inScheme(c byte) bool { return ascii.IsLetter(c) || c == '*' }

// schemeAt finds "http://" and its like: letters, then a colon and what stands for slashes.
func schemeAt(token string) int {
	for from := 0; from < len(token); {
		i := strings.IndexByte(token[from:], ':')
		if i < 0 {
			return -1
		}
		i += from
		from = i + 1

		start, begin := schemeBefore(token, i)
		if start < begin && i+2 < len(token) && leads(token[start:begin], strings.TrimPrefix(token[i+1:], "]")) {
			return start + oldScheme(token[start:begin])
		}
	}

	return -1
}

// leads says whether letters and what stands behind their colon begin an address: a scheme of the web also with one slash,
// or backslashes, as browsers have it.
func leads(letters, after string) bool {
	known := isWeb(letters)
	if strings.HasPrefix(after, "//") {
		return known || len(letters) >= 2 && len(letters) < 10
	}

	return known && (strings.HasPrefix(after, `\`) || strings.HasPrefix(after, "/"))
}

// oldScheme is how much stands before the scheme in letters without a gap, as in "seehttp".
func oldScheme(letters string) int {
	lower := strings.ToLower(letters)
	for _, scheme := range []string{"https", "http", "hxxps", "hxxp", "ftp"} {
		if strings.HasSuffix(lower, scheme) {
			return len(letters) - len(scheme)
		}
	}
	return 0
}

func isWeb(scheme string) bool {
	scheme = strings.ToLower(scheme)
	for _, s := range []string{"http", "https", "hxxp", "hxxps", "h**p", "h**ps", "ftp", "fxp"} {
		if strings.HasSuffix(scheme, s) {
			return true
		}
	}
	return false
}

// bare holds for a name without a scheme that a reader takes for an address.
func bare(text string) bool {
	host, tail := cutHost(text)
	path := len(tail) > 1 && tail[0] == '/'
	if len(host) < 4 || len(host) > 300 || strings.IndexByte(host, '@') >= 0 {
		return false
	}

	plain := plainDots(refang(host))
	odd := plain != host
	plain = withoutPort(plain)
	if !path { // what stands behind a name at the end of a sentence
		plain = strings.TrimRight(plain, trailing)
	}
	if www(plain) {
		return odd || mail.IsASCII(plain) && plainName(strings.TrimRight(plain, "."))
	}

	return (path || odd) && bareHost(plain, odd)
}

// bareHost holds for a host that an address is taken for; odd says that its dots were hidden.
func bareHost(host string, odd bool) bool {
	if strings.HasPrefix(host, ".") || !strings.Contains(host, ".") {
		return false
	}
	if mail.IsASCII(host) && !plainName(host) {
		return false
	}
	if _, _, ok := parseIPv4(host); ok {
		return odd || strings.Count(host, ".") == 3
	}

	return hasKnownSuffix(host)
}

func www(name string) bool {
	return len(name) > 4 && strings.EqualFold(name[:4], "www.") && strings.Trim(name[4:], ".") != ""
}

func withoutPort(host string) string {
	colon := strings.LastIndexByte(host, ':')
	if colon > 0 && colon+1 < len(host) && ascii.AllDigits(host[colon+1:]) {
		return host[:colon]
	}

	return host
}

// hasKnownSuffix says whether a name lies below a suffix of the public list.
func hasKnownSuffix(name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	suffix, icann := publicsuffix.PublicSuffix(name)
	return len(suffix) < len(name) && (icann || strings.Contains(suffix, "."))
}

// beginsWithName says whether a text begins with a name below a public suffix.
func beginsWithName(text string) bool {
	host, _, _ := strings.Cut(text, "/")
	if mail.IsASCII(host) && !plainName(host) {
		return false
	}
	return hasKnownSuffix(host)
}

// Shown gives the registered domain that a link's text shows, "" if the text shows no address.
func Shown(text string) string {
	text = strings.TrimSpace(text)
	if len(text) > 256 || text == "" || strings.IndexByte(text, '.') < 0 {
		return ""
	}
	first, _, _ := strings.Cut(text, " ")
	onlyText := first == text && strings.IndexByte(first, '@') < 0
	if !onlyText && !strings.Contains(first, "://") {
		return ""
	}
	first = strings.Trim(first, trailing+"(<>\"")
	if !strings.Contains(first, "://") {
		if !beginsWithName(first) {
			return ""
		}
		first = "http://" + first
	}
	l, ok := Parse(first, "")
	if !ok || l.Domain == "" || !hasKnownSuffix(l.Host) {
		return ""
	}
	return l.Domain
}
