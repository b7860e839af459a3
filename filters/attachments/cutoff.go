package attachments

import (
	"slices"
	"strings"

	"postern/internal/mimeview"
	"postern/internal/mimeview/contents"
	"postern/internal/mimeview/unpack"
)

// cutOff gives the parts at which a returned message ends in the middle: reports hold as much of it as the server cares to
// give back (RFC 6522 section 3), and so the last attachment is often half of one.
func cutOff(root *mimeview.Part) map[place]bool {
	cut := map[place]bool{}
	if root == nil || root.Type != "multipart/report" {
		return cut
	}

	for _, returned := range root.Parts {
		if returned.Type != "message/rfc822" && returned.Type != "message/global" || returned.Reading != "" {
			continue
		}

		p, unclosed := returned, false
		for last := lastOf(p); last != nil; last = lastOf(p) {
			unclosed = p.Unclosed
			p = last
		}
		if unclosed {
			cut[placeOf(p)] = true
		}
	}

	return cut
}

// place is where the body of a part begins, whatever the reading: half a line of base64 is decoded in more than one way.
type place struct {
	within string
	start  int64
}

func placeOf(p *mimeview.Part) place { return place{p.Within, p.Start} }

// lastOf is the last part in the reading of the RFC.
func lastOf(p *mimeview.Part) *mimeview.Part {
	for _, inner := range slices.Backward(p.Parts) {
		if inner.Reading == "" {
			return inner
		}
	}
	return nil
}

// missing says whether a flag says no more than that the end of an item isn't there, where the message that was returned
// ends. All that is there was looked at.
func (r *report) missing(i *contents.Item, flag unpack.Flag) bool {
	// a run of base64 that the part explains stands there as well, for half a group at its end
	part, elsewhere := false, false
	for _, p := range i.Object.Parts {
		if p != nil {
			cut := r.cut[placeOf(p)]
			part, elsewhere = part || cut, elsewhere || !cut
		}
	}
	if !part || elsewhere {
		return false
	}

	switch flag.Kind {
	case unpack.HiddenEntry, unpack.LyingSize: // for want of the directory at the end; of its own length
		return true
	case unpack.Unscannable:
		r.said[strings.Join(i.Path, "/")+": "+flag.Detail] = true
		return strings.HasSuffix(flag.Detail, "unexpected EOF") || flag.Detail == "no central directory"
	}

	return false
}
