package signature

import (
	"bytes"
	"fmt"
	"slices"

	"postern/internal/mail"
)

// oncePerMessage are the fields of which a message has one (RFC 5322 section 3.6, RFC 2045 section 3) and that a reader
// shows, or that say how to show the body.
func oncePerMessage() []string {
	return []string{
		"from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id",
		"mime-version", "content-type", "content-transfer-encoding",
	}
}

// repeated names a field that stands there more often than the signature signs it: "" if there is none. RFC 6376 section
// 5.4.2 signs from the bottom up, so that a second Subject on top is not signed and yet what many readers show; section
// 8.15 leaves it to the verifier to say that such a signature stands for nothing. Copies that say the same deceive nobody.
func (s *Signature) repeated(fields Fields) string {
	for _, name := range oncePerMessage() {
		all := fields[name]
		if len(all) < 2 {
			continue
		}
		signed := 0
		for _, n := range s.Names {
			if n == name {
				signed++
			}
		}
		if signed < len(all) && !alike(all) {
			return fmt.Sprintf("%d fields %s, %d of them signed", len(all), all[0].Name, signed)
		}
	}
	return ""
}

// alike says whether all fields have the same value, but for white space.
func alike(all []mail.Field) bool {
	first := canonicalField(Relaxed, all[0].Raw, all[0].ValueAt)
	return !slices.ContainsFunc(all[1:], func(f mail.Field) bool {
		return !bytes.Equal(first, canonicalField(Relaxed, f.Raw, f.ValueAt))
	})
}
