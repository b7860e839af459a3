package links

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"postern/internal/mail/ascii"
)

// MaxHops is how many redirectors within each other are unwrapped.
const MaxHops = 5

// Targets are the addresses that a link carries within itself, the outermost first, each with the flag Redirected. The
// link gets the flag Redirector or Nested. At most MaxHops are found.
func Targets(l *Link) (all []Link) {
	at := l
	for range MaxHops {
		target, service := carried(at)
		if target == "" {
			return all
		}
		next, ok := Parse(target, "")
		if !ok || next.URL == at.URL || !special(next.Scheme) {
			return all
		}
		if service {
			at.flag(Redirector)
		} else {
			at.flag(Nested)
		}
		next.flag(Redirected)
		next.Where, next.Part = l.Where, l.Part
		all = append(all, next)
		at = &all[len(all)-1]
		Mark(at)
	}
	return all
}

// Mark flags what the host alone tells.
func Mark(l *Link) {
	if isShortener(l.Host) {
		l.flag(Shortener)
	}
}

// carried gives the address within an address, and whether that is by the rules of a known service.
func carried(l *Link) (target string, service bool) {
	onlyHost := l.Query == "" && len(l.Path) < 8 && l.Fragment == ""
	if onlyHost && !strings.HasSuffix(l.Host, ".translate.goog") {
		return "", false
	}
	if t := byService(l); t != "" {
		return t, true
	}
	for _, part := range []string{l.Query, l.Fragment} {
		for n := 0; part != "" && n < 100; n++ {
			var pair string
			pair, part, _ = strings.Cut(part, "&")
			value := pair
			if _, behind, ok := strings.Cut(pair, "="); ok {
				value = behind
			}
			if t := webAddress(value); t != "" {
				return t, false
			}
		}
	}
	return inPath(l.Path), false
}

// inPath finds an address that stands behind a slash.
func inPath(path string) string {
	lower := ascii.Lower(path)
	for _, scheme := range []string{"/http:/", "/https:/", "/http%3a", "/https%3a"} {
		if i := strings.Index(lower, scheme); i >= 0 {
			return unescape(path[i+1:])
		}
	}
	return ""
}

// webAddress gives a value that is an address of the web: as it is, escaped up to three times, or in base64.
func webAddress(value string) string {
	if len(value) < 8 {
		return ""
	}
	for range 4 {
		if isWebAddress(value) {
			return value
		}
		plain := unescape(value)
		if plain == value {
			break
		}
		value = plain
	}
	if mayBeCoded(value) {
		return fromBase64(value)
	}
	return ""
}

// mayBeCoded says whether a text begins as "http", "HTTP" or "//" do in base64.
func mayBeCoded(value string) bool {
	if strings.HasPrefix(value, "Ly9") {
		return len(value) > 16
	}
	return strings.HasPrefix(value, "aHR0c") || strings.HasPrefix(value, "SFRUU")
}

func isWebAddress(text string) bool {
	head := strings.ToLower(text[:min(len(text), 10)])
	return strings.HasPrefix(head, "http:/") || strings.HasPrefix(head, "https:/") || strings.HasPrefix(head, "http:\\") || strings.HasPrefix(head, "https:\\") ||
		strings.HasPrefix(head, "//") && len(text) > 4 && strings.Contains(text, ".") || strings.HasPrefix(head, "ftp://")
}

// fromBase64 reads base64 of both alphabets, with or without its end.
func fromBase64(text string) string {
	text = strings.NewReplacer("-", "+", "_", "/").Replace(text)
	text = strings.TrimRight(text, "=")
	if i := strings.IndexFunc(text, func(r rune) bool {
		return r >= utf8.RuneSelf || !ascii.IsAlnum(byte(r)) && r != '+' && r != '/'
	}); i >= 0 {
		text = text[:i]
	}
	if len(text)%4 == 1 {
		text = text[:len(text)-1]
	}
	plain, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil || !isWebAddress(string(plain)) {
		return ""
	}
	return string(plain)
}

// redirector is a service whose addresses carry another one.
type redirector struct {
	host string // the name, or one below it; "=" in front: the name alone
	path string // how the path begins
	read func(*Link) string
}

// byParam reads the first of these parameters that holds an address.
func byParam(names ...string) func(*Link) string {
	return func(l *Link) string { return l.param(names...) }
}

// redirectors are the large services that do so, and how.
var redirectors = [...]redirector{
	{"cdn.ampproject.org", "", ampCache},
	{"translate.goog", "", func(l *Link) string { return translated(strings.TrimPrefix(l.Host, "www."), l.Path) }},
	{"=l.instagram.com", "", byParam("u")},
	{"=l.messenger.com", "", byParam("u")},
	{"=l.wl.co", "", byParam("u")},
	{"facebook.com", "", func(l *Link) string {
		if !strings.HasSuffix(l.Path, "/l.php") {
			return ""
		}
		return l.param("u")
	}},
	{"safelinks.protection.outlook.com", "", byParam("url")},
	{"safelinks.protection.outlook.us", "", byParam("url")},
	{"urldefense.proofpoint.com", "", proofpoint},
	{"urldefense.com", "", proofpoint},
	{"urldefense.us", "", proofpoint},
	{"linkprotect.cudasvc.com", "", byParam("a")},
	{"linkedin.com", "/safety/go", byParam("url")},
	{"linkedin.com", "/redir/", byParam("url")},
	{"bing.com", "/ck/", func(l *Link) string { return bing(l.param("u")) }},
	{"search.yahoo.com", "", func(l *Link) string { return yahoo(l.Path) }},
	{"youtube.com", "/redirect", byParam("q")},
	{"duckduckgo.com", "/l", byParam("uddg")},
	{"umblr.com", "/redirect", byParam("z")},
	{"slack-redir.net", "/link", byParam("url")},
	{"steamcommunity.com", "/linkfilter", byParam("url", "u")},
	{"=vk.com", "/away.php", byParam("to")},
	{"web.archive.org", "", func(l *Link) string { return inPath(l.Path) }},
}

// byService knows how the redirectors of large services carry their target.
func byService(l *Link) string {
	host := strings.TrimPrefix(l.Host, "www.")
	if strings.HasPrefix(host, "google.") || strings.Contains(host, ".google.") {
		return google(l)
	}

	for i := range redirectors {
		if r := redirectors[i]; r.has(host) && strings.HasPrefix(l.Path, r.path) {
			return r.read(l)
		}
	}

	return ""
}

func (r redirector) has(host string) bool {
	if name, exact := strings.CutPrefix(r.host, "="); exact {
		return host == name
	}
	before, ok := strings.CutSuffix(host, r.host)

	return ok && (before == "" || strings.HasSuffix(before, "."))
}

// google reads the addresses of Google's search, which stands under many names.
func google(l *Link) string {
	switch path := l.Path; {
	case strings.HasPrefix(path, "/url"):
		return l.param("q", "url")
	case strings.HasPrefix(path, "/amp/"):
		return amp(path[len("/amp/"):])
	case path == "/imgres" || path == "/translate" || path == "/aclk":
		return l.param("imgrefurl", "u", "adurl")
	}

	return ""
}

// ampCache reads the path of AMP's cache, which begins with a kind of one letter.
func ampCache(l *Link) string {
	if len(l.Path) > 3 && l.Path[2] == '/' {
		return amp(l.Path[3:])
	}

	return ""
}

// param is the first of these parameters that holds an address, unescaped.
func (l *Link) param(names ...string) string {
	for _, name := range names {
		rest := l.Query
		for n := 0; rest != "" && n < 200; n++ {
			var pair string
			pair, rest, _ = strings.Cut(rest, "&")
			key, value, _ := strings.Cut(strings.TrimPrefix(pair, "amp;"), "=")
			if key != name || value == "" {
				continue
			}
			if t := webAddress(value); t != "" {
				return t
			}
			if plain := unescape(value); looksLikeHost(plain, false) || strings.HasPrefix(plain, "a1") {
				return plain
			}
		}
	}
	return ""
}

// amp reads "s/host/path", s for https.
func amp(rest string) string {
	if after, ok := strings.CutPrefix(rest, "s/"); ok {
		return "https://" + after
	}
	return "http://" + rest
}

// translated gives the host of www-example-com.translate.goog; a double hyphen there is one in the name.
func translated(host, path string) string {
	name := strings.TrimSuffix(host, ".translate.goog")
	name = strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(name, "--", "\x00"), "-", "."), "\x00", "-")
	return "https://" + name + path
}

// bing has "a1" and base64 without padding.
func bing(value string) string {
	coded, ok := strings.CutPrefix(value, "a1")
	if !ok {
		return value
	}
	return fromBase64(coded)
}

// yahoo has its target in the path: /RU=http%3a%2f%2f.../RK=0/...
func yahoo(path string) string {
	_, rest, ok := strings.Cut(path, "/RU=")
	if !ok {
		return ""
	}
	target, _, _ := strings.Cut(rest, "/RK=")
	target, _, _ = strings.Cut(target, "/RS=")
	return webAddress(target)
}

// proofpoint reads the three versions of URL Defense.
func proofpoint(l *Link) string {
	switch {
	case strings.HasPrefix(l.Path, "/v1/"):
		return l.param("u")
	case strings.HasPrefix(l.Path, "/v2/"):
		rest := l.Query
		for n := 0; rest != "" && n < 100; n++ {
			var pair string
			pair, rest, _ = strings.Cut(rest, "&")
			if value, ok := strings.CutPrefix(pair, "u="); ok {
				return webAddress(strings.NewReplacer("-", "%", "_", "/").Replace(value))
			}
		}
	case strings.HasPrefix(l.Path, "/v3/__"):
		whole := l.URL[strings.Index(l.URL, "/v3/__")+len("/v3/__"):]
		end := strings.LastIndex(whole, "__;")
		if end < 0 {
			return ""
		}
		letters, _, _ := strings.Cut(whole[end+len("__;"):], "!")
		return webAddress(stars(whole[:end], letters))
	}
	return ""
}

// stars puts back what version 3 replaced: "*" is the next letter of a list in base64, "**X" as many of them as X says.
func stars(text, coded string) string {
	list, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(coded, "="))
	if err != nil || len(list) == 0 {
		return text
	}
	var b strings.Builder
	letter := func() {
		if len(list) > 0 {
			_, size := utf8.DecodeRune(list)
			b.Write(list[:size])
			list = list[size:]
		}
	}
	for i := 0; i < len(text); i++ {
		if text[i] != '*' {
			b.WriteByte(text[i])
			continue
		}
		if i+2 < len(text) && text[i+1] == '*' {
			const lengths = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
			if n := strings.IndexByte(lengths, text[i+2]); n >= 0 {
				for range n + 2 {
					letter()
				}
				i += 2
				continue
			}
		}
		letter()
	}
	return b.String()
}

// isShortener knows the services that give a short address for any other.
func isShortener(host string) bool {
	switch strings.TrimPrefix(host, "www.") {
	case "bit.ly", "bitly.com", "t.co", "tinyurl.com", "goo.gl", "ow.ly", "is.gd", "v.gd", "buff.ly", "cutt.ly", "rb.gy", "rebrand.ly", "lnkd.in", "t.ly",
		"shorturl.at", "tiny.cc", "bl.ink", "s.id", "qr.ae", "adf.ly", "soo.gd", "clck.ru", "vk.cc", "j.mp", "tr.im", "snip.ly", "short.io", "shorte.st",
		"bit.do", "mcaf.ee", "trib.al", "dlvr.it", "ift.tt", "wp.me", "fb.me", "amzn.to", "youtu.be", "g.co", "aka.ms", "qrco.de", "urlz.fr", "u.to",
		"tny.im", "x.co", "hubs.ly", "hubs.la", "tinylink.net", "shrtco.de", "da.gd", "surl.li", "linktr.ee", "me-qr.com", "qr-code.click", "l.ead.me":
		return true
	}
	return false
}
