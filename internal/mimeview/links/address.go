package links

import (
	"cmp"
	"net/netip"
	"strconv"
	"strings"

	"postern/internal/mail"
	"postern/internal/mail/ascii"
)

// parseIPv4 reads an address in one to four numbers, each in decimal, octal or hexadecimal, as browsers do. Odd is any
// form but four decimal numbers.
func parseIPv4(host string) (ip netip.Addr, odd, ok bool) {
	if host == "" || len(host) > 60 {
		return ip, false, false
	}
	if !ascii.IsDigit(host[len(host)-1]) && !strings.Contains(host, "0x") { // most names end here
		return ip, false, false
	}
	fields := strings.Split(host, ".")
	if len(fields) > 4 {
		return ip, false, false
	}

	odd = len(fields) != 4
	var value uint64
	for i, field := range fields {
		n, base, ok := parseNumber(field)
		room := uint(8)
		if i == len(fields)-1 {
			room = 8 * uint(5-len(fields))
		}
		if !ok || n >= 1<<room {
			return ip, false, false
		}
		odd = odd || base != 10
		value = value<<room | n
	}

	return netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)}), odd, true
}

// parseNumber reads a number as https://url.spec.whatwg.org/#ipv4-number-parser has it.
func parseNumber(field string) (n uint64, base int, ok bool) {
	base = 10
	if hex, is := strings.CutPrefix(field, "0x"); is {
		base, field = 16, cmp.Or(hex, "0")
	} else if len(field) > 1 && field[0] == '0' {
		base, field = 8, field[1:]
	}

	n, err := strconv.ParseUint(field, base, 40)

	return n, base, err == nil
}

// unescape reads %XX (RFC 3986 section 2.1); what is no such thing stays.
func unescape(text string) string {
	if strings.IndexByte(text, '%') < 0 {
		return text
	}
	var b strings.Builder
	b.Grow(len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			high, low := ascii.HexValue(text[i+1]), ascii.HexValue(text[i+2])
			if high >= 0 && low >= 0 {
				b.WriteByte(byte(high<<4 | low))
				i += 2
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// refang undoes what people do to addresses so that they can't be clicked: hxxp for http, [.] or (dot) for a dot. It looks
// at what comes before the path only.
func refang(text string) string {
	end := len(text)
	if i := strings.Index(text, "://"); i >= 0 {
		if j := strings.IndexAny(text[i+3:], "/?#"); j >= 0 {
			end = i + 3 + j
		}
	} else if i := strings.IndexAny(text, "/?#"); i >= 0 {
		end = i
	}
	head, tail := text[:end], text[end:]
	plain := head
	if len(head) > 4 {
		switch lower := strings.ToLower(head[:min(len(head), 5)]); {
		case strings.HasPrefix(lower, "hxxp"), strings.HasPrefix(lower, "h**p"), strings.HasPrefix(lower, "hzzp"), strings.HasPrefix(lower, "htxp"):
			plain = "http" + head[4:]
		case strings.HasPrefix(lower, "fxp"):
			plain = "ftp" + head[3:]
		}
	}
	if strings.ContainsAny(plain, "[({") {
		plain = strings.NewReplacer("[.]", ".", "(.)", ".", "{.}", ".", "[dot]", ".", "(dot)", ".", "{dot}", ".", "[DOT]", ".", "(DOT)", ".",
			"[:]", ":", "[://]", "://", "[/]", "/", "[@]", "@").Replace(plain)
	}
	if plain == head {
		return text
	}
	return plain + tail
}

// looksLikeHost holds for www.something, and for a name below a public suffix with a path behind it or, if it is sure to
// be meant, without one.
func looksLikeHost(text string, sure bool) bool {
	end := strings.IndexAny(text, "/?#:")
	if end < 0 {
		end = len(text)
	}
	host := text[:end]
	if len(host) > 253 || len(host) < 4 || !isDottedName(host) {
		return false
	}
	if len(host) > 4 && strings.EqualFold(host[:4], "www.") {
		return true
	}
	withPath := end < len(text) && text[end] != ':'
	return (sure || withPath || strings.Count(host, ".") > 1) && hasKnownSuffix(host)
}

func isDottedName(host string) bool {
	return strings.Contains(host, ".") && mail.IsASCII(host) && plainName(strings.TrimSuffix(host, "."))
}
