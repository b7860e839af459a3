package greylist

import (
	"strings"

	"postern/internal/mail"
)

// steady is the part of a sender's address that stays the same from one message, or one try, to the next: without the
// signatures of BATV and SRS, and with "#" for each word that holds a digit, as mailing lists number their mail (VERP).
func steady(a mail.Address) string {
	if a.IsNull() {
		return "<>"
	}
	domain := a.ASCIIDomain()
	if domain == "" {
		domain = strings.ToLower(a.Domain)
	}
	return unnumbered(unsigned(strings.ToLower(a.Local))) + "@" + domain
}

// unsigned takes signatures away.
func unsigned(local string) string {
	for _, prefix := range []string{"prvs=", "msprvs1=", "btv1=="} { // BATV and two of its kin: tag, then "=" or "=="
		if rest, ok := strings.CutPrefix(local, prefix); ok {
			if _, inner, ok := strings.Cut(rest, "="); ok {
				return strings.TrimPrefix(inner, "=")
			}
		}
	}
	if i := strings.LastIndex(local, "=="); strings.HasPrefix(local, "srs1") && i >= 0 { // a forwarder behind a forwarder
		return afterHash(local[i+2:])
	}
	if strings.HasPrefix(local, "srs0") && len(local) > 5 {
		return afterHash(local[5:])
	}
	return local
}

// afterHash is what follows the hash and the time stamp of SRS: domain and user.
func afterHash(text string) string {
	parts := strings.SplitN(text, "=", 3)
	return parts[len(parts)-1]
}

// unnumbered puts "#" in place of each word that holds a digit, and drops what follows a "+".
func unnumbered(local string) string {
	if i := strings.IndexByte(local, '+'); i > 0 {
		local = local[:i]
	}
	if !strings.ContainsAny(local, "0123456789") {
		return local
	}
	var b strings.Builder
	start := 0
	flush := func(end int) {
		word := local[start:end]
		if strings.ContainsAny(word, "0123456789") {
			word = "#"
		}
		b.WriteString(word)
	}
	for i := range len(local) {
		if strings.IndexByte(".-_=/~", local[i]) >= 0 {
			flush(i)
			b.WriteByte(local[i])
			start = i + 1
		}
	}
	flush(len(local))
	return b.String()
}
