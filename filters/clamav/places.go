package clamav

import (
	"slices"
	"strings"

	"postern/internal/mimeview"
)

// Where clamd's own reading of a message finds what is in it, and where it may not look.

// plainly are the containers of which clamd reads every part.
var plainly = []string{"multipart/mixed", "multipart/alternative", "multipart/related"}

// deep is how far parts may lie within each other.
const deep = 5

// hidden says whether clamd may not find a content in the message: it belongs to another reading, lies in something that
// is encoded itself, or in a part of a container that clamd takes for one with a fixed number of parts.
func hidden(v *mimeview.View, o *mimeview.Object) bool {
	if o.Reading != "" || o.Within != "" || o.Part == nil || o.Part.Depth > deep {
		return true
	}
	switch strings.ToLower(o.Part.Encoding) {
	case "", "7bit", "8bit", "binary", "base64", "quoted-printable":
	default:
		return true
	}
	return !slices.ContainsFunc(v.Parts(), func(p *mimeview.Part) bool { return p == o.Part }) || !reached(v.Root(), o.Part)
}

// reached says whether a part lies in plain containers only.
func reached(at, part *mimeview.Part) bool {
	if at == part {
		return true
	}
	if at == nil || len(at.Parts) > 0 && !slices.Contains(plainly, at.Type) {
		return false
	}
	return slices.ContainsFunc(at.Parts, func(p *mimeview.Part) bool { return reached(p, part) })
}

// plainToAll: the text of the message, which nobody has to unpack, and pictures, of which a newsletter has dozens.
func plainToAll(o *mimeview.Object) bool {
	if len(o.Types) == 0 {
		return false
	}
	text := len(o.Names) == 0
	picture := true
	for _, t := range o.Types {
		text = text && strings.HasPrefix(t, "text/")
		picture = picture && strings.HasPrefix(t, "image/") && t != "image/svg+xml"
	}
	return text || picture
}
