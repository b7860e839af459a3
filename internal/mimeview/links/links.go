// Package links reads web addresses the way browsers and mail readers do, however they are written (RFC 3986, and
// https://url.spec.whatwg.org/ for what browsers forgive), finds them in text, and unwraps redirectors without asking
// anybody. Nothing is ever fetched.
package links

import (
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"

	"postern/internal/mail"
	"postern/internal/mail/ascii"
	"postern/internal/mimeview/confusable"
)

// Link is an address in a message.
type Link struct {
	// URL is the address made plain: scheme and host in lower case, the host in A-labels (RFC 5890), numbers as IP
	// addresses, the rest as it was written. Raw is what stood there, up to MaxURL octets.
	URL, Raw string
	// Scheme is in lower case. Host is a name in A-labels or an IP address. Domain is the registered domain of the host,
	// "" for an IP address and for a name without one. Port is "" where none was given. Path, Query and Fragment are as
	// written, without "?" and "#".
	Scheme, Host, Domain, Port, Path, Query, Fragment string
	// Text is what the reader sees of it, "" where that is the address itself.
	Text string
	// Where says where it was: "text", "subject", "html a href", "css url", "header List-Unsubscribe", "calendar", "qr code".
	Where string
	// Part is the index of the part in View.Parts, -1 for the header.
	Part  int
	Flags []string
}

// MaxURL is how many octets of an address are read.
const MaxURL = 2048

// The flags. Each is a fact about how a link is written; honest mail has most of them at times.
const (
	Userinfo        = "userinfo"            // user@host
	LongUserinfo    = "long userinfo"       // more than 64 octets before the @
	IPHost          = "ip host"             // an IP address in place of a name
	OddIP           = "odd ip"              // as one number, in octal or in hexadecimal
	Punycode        = "punycode"            // a name with letters beyond ASCII
	BadPunycode     = "bad punycode"        // an xn-- label that stands for nothing
	BadHost         = "bad host"            // no name by RFC 1123 or IDNA
	MixedScript     = "mixed script"        // a label of Latin and of letters that look alike
	Confusable      = "confusable"          // a label that looks like an ASCII one
	UnicodeDot      = "unicode dot"         // another character for a dot
	OddPort         = "port"                // a port that is not the scheme's own
	EncodedHost     = "encoded host"        // %2e and the like in the host
	OddSlashes      = "odd slashes"         // http:\\, http:/x, http:////
	ControlInURL    = "control characters"  // a tab or line end within
	Defanged        = "defanged"            // hxxp, [.], (dot)
	NoScheme        = "no scheme"           // www.example or example.com/x
	OddScheme       = "non-standard scheme" // none of http, https, ftp, mailto, tel, sms
	DataURL         = "data"                // carries its content itself
	ScriptURL       = "script"              // javascript:, vbscript:
	Redirector      = "redirector"          // a known service that leads on to an address it carries
	Nested          = "nested"              // carries another address
	Redirected      = "redirected"          // the address that another one carried
	Shortener       = "shortener"           // the target can't be told from the address
	Mismatch        = "mismatch"            // the text shows another domain
	CarriesAddress  = "recipient"           // the address of a recipient stands in it
	HiddenLink      = "hidden"              // the page does not show it
	TooLong         = "too long"            // cut at MaxURL
	SplitOverLines  = "split over lines"    // written within <> over several lines
	maxLabelsOfHost = 64
)

// Has says whether a link has a flag.
func (l *Link) Has(flag string) bool { return slices.Contains(l.Flags, flag) }

// flag adds a flag, once.
func (l *Link) flag(f string) {
	if !l.Has(f) {
		l.Flags = append(l.Flags, f)
	}
}

// Flag adds a flag that only who knows the message can tell.
func (l *Link) Flag(f string) { l.flag(f) }

// Parse reads an address; base is what it is relative to, "" if nothing. It says false for what leads nowhere: an empty
// one, a fragment, a relative one without a base.
func Parse(raw, base string) (Link, bool) {
	l := Link{Part: -1}
	text := l.clean(raw)
	if text == "" || text[0] == '#' {
		return l, false
	}
	if plain := refang(text); plain != text {
		text = plain
		l.flag(Defanged)
	}

	scheme, rest, ok := cutScheme(text)
	switch {
	case ok && special(scheme):
		l.Scheme = scheme
		if rest, ok = l.slashes(rest); !ok {
			return l, false
		}
	case ok:
		return l.other(scheme, rest)
	case beginsWithHost(text):
		l.Scheme = webScheme(base)
		rest = strings.TrimLeft(text, `/\`)
	case looksLikeHost(plainDots(text), l.Has(Defanged)):
		l.Scheme, rest = "http", text
		l.flag(NoScheme)
	case base != "":
		return l.relative(text, base)
	default:
		return l, false
	}

	return l, l.authority(rest)
}

// clean takes off an address what browsers don't see.
func (l *Link) clean(raw string) string {
	if len(raw) > MaxURL {
		raw = raw[:MaxURL]
		l.flag(TooLong)
	}
	l.Raw = strings.ToValidUTF8(raw, "\uFFFD")

	text := strings.TrimFunc(raw, func(r rune) bool { return r <= ' ' || r == '\u00A0' || confusable.Invisible(r) })
	clean := WithoutControls(text)
	if clean != text {
		l.flag(ControlInURL)
	}

	return clean
}

// WithoutControls takes out tabs and line ends, which browsers don't see, and other controls.
func WithoutControls(text string) string {
	for i := range len(text) {
		if text[i] < ' ' || text[i] == 0x7F {
			return strings.Map(func(r rune) rune {
				if r < ' ' || r == 0x7F {
					return -1
				}
				return r
			}, text)
		}
	}
	return text
}

// beginsWithHost says whether an address leaves out the scheme: RFC 3986 section 4.2, with the slashes that browsers take.
func beginsWithHost(text string) bool {
	return strings.HasPrefix(text, "//") || strings.HasPrefix(text, `\\`) || strings.HasPrefix(text, `/\`)
}

// webScheme is the scheme of a base, "http" if that has none with a host.
func webScheme(base string) string {
	if s, _, ok := cutScheme(base); ok && special(s) {
		return s
	}
	return "http"
}

// cutHost parts an address without its scheme before the path, the query or the fragment.
func cutHost(text string) (host, tail string) {
	end := strings.IndexAny(text, `/\?#`)
	if end < 0 {
		end = len(text)
	}
	return text[:end], text[end:]
}

func cutScheme(text string) (scheme, rest string, ok bool) {
	for i := range min(len(text), 32) {
		c := text[i]
		switch {
		case c == ':' && i > 0:
			scheme, rest = strings.ToLower(text[:i]), text[i+1:]
			if isPort(rest) && strings.IndexByte(scheme, '.') >= 0 { // host:80
				return "", "", false
			}
			return scheme, rest, true
		case ascii.IsLetter(c):
		case i > 0 && (ascii.IsDigit(c) || strings.IndexByte("+-.", c) >= 0):
		default:
			return "", "", false
		}
	}
	return "", "", false
}

func isPort(text string) bool {
	i := 0
	for i < len(text) && text[i] >= '0' && text[i] <= '9' {
		i++
	}
	return i > 0 && (i == len(text) || text[i] == '/')
}

// special are the schemes whose addresses browsers repair.
func special(scheme string) bool {
	return scheme == "http" || scheme == "https" || scheme == "ftp" || scheme == "ws" || scheme == "wss"
}

// slashes takes what stands for "//" off.
func (l *Link) slashes(rest string) (string, bool) {
	trimmed := strings.TrimLeft(rest, `/\`)
	if !strings.HasPrefix(rest, "//") || len(rest)-len(trimmed) != 2 {
		l.flag(OddSlashes)
	}
	return trimmed, trimmed != ""
}

// other reads an address of a scheme without a host as browsers know it.
func (l Link) other(scheme, rest string) (Link, bool) {
	l.Scheme = scheme
	rest = strings.ToValidUTF8(rest, "\uFFFD")
	l.URL = scheme + ":" + rest
	switch scheme {
	case "cid", "mid", "about":
		return l, false
	case "mailto":
		l.Path, l.Query, _ = strings.Cut(rest, "?")
		first, _, _ := strings.Cut(l.Path, ",")
		if _, domain, ok := strings.Cut(unescape(first), "@"); ok {
			l.host(domain)
		}
	case "tel", "sms":
		l.Path = rest
	case "data":
		l.flag(DataURL)
		l.Path, _, _ = strings.Cut(rest, ",")
		l.URL = "data:" + l.Path
		return l, true
	case "javascript", "vbscript", "jscript", "livescript":
		l.flag(ScriptURL)
		l.Path = rest
	case "view-source", "feed", "jar":
		if inner, ok := Parse(rest, ""); ok {
			inner.Raw = l.Raw
			inner.flag(OddScheme)
			return inner, true
		}
		fallthrough
	default:
		l.flag(OddScheme)
		l.unknown(rest)
	}
	return l, true
}

// unknown reads what follows an unknown scheme: RFC 3986 section 3.
func (l *Link) unknown(rest string) {
	after, ok := strings.CutPrefix(rest, "//")
	if !ok {
		l.Path = rest
		return
	}
	end := strings.IndexAny(after, "/?#")
	if end < 0 {
		end = len(after)
	}
	l.host(after[strings.LastIndexByte(after[:end], '@')+1 : end])
	l.Path = after[end:]
}

// relative reads an address that is relative to base, roughly: what matters is the host.
func (l Link) relative(text, base string) (Link, bool) {
	b, ok := Parse(base, "")
	if !ok || !special(b.Scheme) {
		return l, false
	}
	l.Scheme, l.Host, l.Domain, l.Port = b.Scheme, b.Host, b.Domain, b.Port
	for _, f := range b.Flags {
		l.flag(f)
	}
	if !strings.HasPrefix(text, "/") {
		dir := b.Path[:strings.LastIndexByte(b.Path, '/')+1]
		if dir == "" {
			dir = "/"
		}
		text = dir + text
	}
	l.tail(text)
	return l, true
}

// authority reads host, port and what is around them (RFC 3986 section 3.2).
func (l *Link) authority(rest string) bool {
	host, tail := cutHost(rest)
	if at := strings.LastIndexByte(host, '@'); at >= 0 {
		l.flag(Userinfo)
		if at > 64 {
			l.flag(LongUserinfo)
		}
		host = host[at+1:]
	}
	if strings.IndexByte(host, '%') >= 0 {
		l.flag(EncodedHost)
		host = unescape(host)
		host, _ = cutHost(host[strings.LastIndexByte(host, '@')+1:]) // browsers refuse it; others go there
	}
	if colon := strings.LastIndexByte(host, ':'); colon >= 0 && strings.IndexByte(host[colon:], ']') < 0 && ascii.AllDigits(host[colon+1:]) {
		host, l.Port = host[:colon], strings.TrimLeft(host[colon+1:], "0")
		if l.Port != "" && l.Port != portOf(l.Scheme) {
			l.flag(OddPort)
		}
	}
	l.host(host)
	if l.Host == "" {
		return false
	}
	l.tail(tail)
	return true
}

// tail sets path, query and fragment, and with them the URL.
func (l *Link) tail(text string) {
	text, l.Fragment, _ = strings.Cut(text, "#")
	l.Path, l.Query, _ = strings.Cut(text, "?")
	if strings.IndexByte(l.Path, '\\') >= 0 {
		l.Path = strings.ReplaceAll(l.Path, `\`, "/")
	}
	var b strings.Builder
	b.Grow(len(l.Scheme) + len(l.Host) + len(text) + 12)
	b.WriteString(l.Scheme)
	b.WriteString("://")
	if strings.IndexByte(l.Host, ':') >= 0 {
		b.WriteString("[" + l.Host + "]")
	} else {
		b.WriteString(l.Host)
	}
	if l.Port != "" && l.Port != portOf(l.Scheme) {
		b.WriteString(":" + l.Port)
	}
	b.WriteString(l.Path)
	b.WriteString(text[len(text)-len(afterPath(text)):])
	if l.Fragment != "" {
		b.WriteString("#" + l.Fragment)
	}
	l.URL = strings.ToValidUTF8(b.String(), "\uFFFD")
}

func afterPath(text string) string {
	if i := strings.IndexByte(text, '?'); i >= 0 {
		return text[i:]
	}
	return ""
}

func portOf(scheme string) string {
	switch scheme {
	case "http", "ws":
		return "80"
	case "https", "wss":
		return "443"
	case "ftp":
		return "21"
	}
	return ""
}

// host reads a name or an address.
func (l *Link) host(host string) {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, _, _ = strings.Cut(inner, "]")
		inner, _, _ = strings.Cut(inner, "%")
		l.flag(IPHost)
		if ip, err := netip.ParseAddr(inner); err == nil {
			l.Host = ip.Unmap().String()
			return
		}
		l.flag(BadHost)
		l.Host = strings.ToLower(strings.ToValidUTF8(inner, "\uFFFD"))
		return
	}
	host = l.dots(host)
	host = strings.TrimRight(strings.ToLower(host), ".")
	if len(host) > 1024 || strings.Count(host, ".") > maxLabelsOfHost {
		l.flag(BadHost)
		host = host[max(0, len(host)-253):]
	}
	if ip, odd, ok := parseIPv4(host); ok {
		l.flag(IPHost)
		if odd {
			l.flag(OddIP)
		}
		l.Host = ip.String()
		return
	}
	l.Host = l.labels(host)
	l.Domain = registered(l.Host)
}

// registered is the label before the public suffix, and the suffix (https://publicsuffix.org/); "" if there is none.
func registered(host string) string {
	if strings.HasPrefix(host, ".") || strings.Contains(host, "..") {
		return ""
	}
	suffix, _ := publicsuffix.PublicSuffix(host)
	if len(suffix) >= len(host) {
		return ""
	}
	return host[1+strings.LastIndexByte(host[:len(host)-len(suffix)-1], '.'):]
}

// dots makes the dots of other scripts plain (RFC 3490 section 3.1) and takes out what shows nothing.
func (l *Link) dots(host string) string {
	if mail.IsASCII(host) {
		return host
	}
	if plain := plainDots(host); plain != host {
		host = plain
		l.flag(UnicodeDot)
	}
	return strings.Map(func(r rune) rune {
		if confusable.Invisible(r) || r == '\u00A0' {
			return -1
		}
		return r
	}, host)
}

func plainDots(host string) string {
	if mail.IsASCII(host) {
		return host
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case '。', '．', '｡', '․', '﹒':
			return '.'
		}
		return r
	}, host)
}

// labels gives a name in A-labels and flags what its letters are.
func (l *Link) labels(host string) string {
	if mail.IsASCII(host) && !strings.Contains(host, "xn--") {
		if !plainName(host) {
			l.flag(BadHost)
		}
		return host
	}
	l.flag(Punycode)
	name, err := idna.Lookup.ToASCII(host)
	if err != nil {
		if name, err = idna.Punycode.ToASCII(host); err != nil {
			name = host
		}
	}
	if name = strings.ToLower(strings.ToValidUTF8(name, "\uFFFD")); !plainName(name) {
		l.flag(BadHost)
	}
	shown, err := idna.Punycode.ToUnicode(name)
	if err != nil {
		l.flag(BadPunycode)
	}
	l.letters(shown)
	return name
}

// letters flags a name whose letters are of several scripts, or look like others.
func (l *Link) letters(shown string) {
	for label := range strings.SplitSeq(shown, ".") {
		if confusable.Mixed(label) {
			l.flag(MixedScript)
		}
		if confusable.Imitates(label) != "" {
			l.flag(Confusable)
		}
	}
}

// plainName holds for what RFC 1123 section 2.1 allows, and underscores.
func plainName(host string) bool {
	if host == "" || len(host) > 253 {
		return false
	}
	label := 0
	for i := range len(host) {
		c := host[i]
		switch {
		case c == '.':
			if label == 0 || label > 63 {
				return false
			}
			label = -1
		case !ascii.IsAlnum(c) && c != '-' && c != '_':
			return false
		}
		label++
	}
	return true
}
