package campaigns

import (
	"encoding/hex"
	"strings"

	"postern/internal/mail"
	"postern/internal/mimeview"
)

// kind is what a fingerprint is taken of.
type kind string

// The kinds.
const (
	kindText       kind = "text"
	kindAttachment kind = "attachment"
	kindPicture    kind = "picture"
	kindStructure  kind = "structure"
)

// fingerprint is a fingerprint: mails of a campaign share it.
type fingerprint struct {
	kind kind
	id   string
	// text is set for the kind that is found by similarity, known says that such a text was seen.
	text  *sketch
	known bool
}

// key is how a fingerprint is named to the admin.
func (p fingerprint) key() string { return string(p.kind) + "-" + p.id }

// Bounds of what is taken of a message.
const (
	maxAttachments = 5
	minAttachment  = 512 // octets
	minTags        = 40
)

// fingerprintsKey is the key under which a message keeps its fingerprints.
type fingerprintsKey struct{}

// fingerprintsOf are the fingerprints of a message.
func fingerprintsOf(m *mail.Message) []fingerprint {
	return m.Derive(fingerprintsKey{}, func() any {
		v := mimeview.Of(m)
		var all []fingerprint
		if s, ok := sketchOf(v); ok {
			all = append(all, fingerprint{kind: kindText, id: s.id(), text: &s})
		}
		all = append(all, contents(v)...)
		if id := structure(v); id != "" {
			all = append(all, fingerprint{kind: kindStructure, id: id})
		}

		return all
	}).([]fingerprint)
}

// contents are the fingerprints of attachments, and of pictures where they stand in place of text: everywhere else they are
// logos.
func contents(v *mimeview.View) (all []fingerprint) {
	if !hasFiles(v) {
		return nil
	}
	pictures := v.MostlyPictures()
	for _, o := range v.Objects() {
		if len(all) == maxAttachments {
			break
		}
		if o.Part == nil || o.Size < minAttachment {
			continue
		}
		if isBody(o.Part) || isSignature(o.Part) {
			continue
		}
		if !strings.HasPrefix(o.Part.Type, "image/") {
			all = append(all, fingerprint{kind: kindAttachment, id: hex.EncodeToString(o.Hash[:8])})
			continue
		}
		if !pictures {
			continue
		}
		if id := pictureID(o); id != "" {
			all = append(all, fingerprint{kind: kindPicture, id: id})
		}
	}

	return all
}

func isBody(p *mimeview.Part) bool { return strings.HasPrefix(p.Type, "text/") && !p.Attachment }

// isSignature says whether a part is a signature: no two are the same.
func isSignature(p *mimeview.Part) bool {
	return p.Type == "application/pkcs7-signature" || p.Type == "application/pgp-signature"
}

// hasFiles says whether there is a part beside text: only then everything is decoded.
func hasFiles(v *mimeview.View) bool {
	for _, p := range v.Parts() {
		if leaf := len(p.Parts) == 0 && !strings.HasPrefix(p.Type, "multipart/"); leaf && !isBody(p) {
			return true
		}
	}

	return false
}

// structure is the hash of the order of tags in the first HTML text: what a kit leaves the same in all its mail. "" if there
// are few.
func structure(v *mimeview.View) string {
	for _, p := range v.Parts() {
		if p.Type != "text/html" || p.Attachment {
			continue
		}
		h, n := uint64(11), 0
		body := p.Body[:min(len(p.Body), maxText)]
		for i := 0; i+1 < len(body); i++ {
			if body[i] != '<' || !isLetter(body[i+1]) {
				continue
			}
			for i++; i < len(body) && isLetter(body[i]); i++ {
				h = h*31 + uint64(body[i]|0x20)
			}
			h = mix(h)
			n++
		}
		if n < minTags {
			return ""
		}

		return hex.EncodeToString([]byte{byte(h >> 56), byte(h >> 48), byte(h >> 40), byte(h >> 32), byte(h >> 24), byte(h >> 16), byte(h >> 8), byte(h)})
	}

	return ""
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
