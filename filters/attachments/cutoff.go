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
func cutOff(root *mimeview.Part) map[*mimeview.Part]bool {
	cut := map[*mimeview.Part]bool{}
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
			cut[p] = true
		}
	}

	return cut
}

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
	if len(r.cut) == 0 || len(i.Object.Parts) == 0 || slices.ContainsFunc(i.Object.Parts, func(p *mimeview.Part) bool { return !r.cut[p] }) {
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
