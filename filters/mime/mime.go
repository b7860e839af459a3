// Package mime reports what is odd about the structure of a message (RFC 2045, RFC 2046). What readers would not all
// read alike is held: a scanner sees one of the readings, the person another.
package mime

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/mimeview"
)

// Settings are the filter's settings.
type Settings struct {
	// Outbound says whether the mail of our own users is looked at for more than MIME_LIMIT.
	Outbound bool `toml:"outbound"`
	// RulesText is how much text of a message word rules look at; longer text is looked through for links, types and embedded
	// files all the same. MaxText is how much is looked through: more text than that is a MIME_LIMIT.
	RulesText config.Size `toml:"rules_text"`
	MaxText   config.Size `toml:"max_text"`
}

func defaults() Settings {
	return Settings{RulesText: mimeview.DefaultText, MaxText: mimeview.DefaultMaxText}
}

// most is the largest max_text: what is larger than any message is a slip.
const limit = 1 << 30

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:   "mime",
	Help:   "Looks at the structure of the message: what readers would read differently, and what is too much to read.",
	Stages: mail.StageMessage, Content: true,
	Timeout: 30 * time.Second,
	Symbols: []filters.Symbol{
		{Name: "MIME_AMBIGUOUS", Score: 3, Form: true, Action: filters.ActionQuarantine, Help: "Two mail readers would not find the same parts in it, in a way that honest mail has practically never"},
		{Name: "MIME_ODD", Score: 1, Form: true, Help: "The structure has faults that readers treat differently, as sloppy programs make them"},
		{Name: "MIME_LIMIT", Score: 2, Form: true, Action: filters.ActionQuarantine, Help: "The message has more parts, levels or text than are read: what is left was not looked at"},
		{Name: "MIME_TEXT_LIMIT", Help: "Word rules saw the front of a long text, or not every link was kept; types, files and hosts were looked for to its end"},
		{Name: "MIME_PARTIAL", Score: 4, Form: true, Action: filters.ActionReject, Help: "It is one piece of a message that a reader would put together (RFC 2046 section 5.2.2)",
			Reply: "Pieces of a message (message/partial) can't be looked through: send it as a whole"},
		{Name: "MIME_EXTERNAL_BODY", Score: 2, Action: filters.ActionQuarantine, Help: "A part is to be fetched from elsewhere when it is read (RFC 2046 section 5.2.3)",
			Reply: "A part of the mail lies elsewhere (message/external-body): attach it, or send a link"},
		{Name: "MISSING_MIME_VERSION", Score: 0.5, Form: true, Help: "There are content fields, but no MIME-Version (RFC 2045 section 4)"},
		{Name: "MIME_BASE64_TEXT_BOGUS", Score: 0.5, Form: true, Help: "A text is encoded in base64 that nothing in it asks for"},
		{Name: "ENCRYPTED_PGP", Help: "The mail is encrypted with OpenPGP: nobody but the recipient can look inside"},
		{Name: "ENCRYPTED_SMIME", Help: "The mail is encrypted with S/MIME: nobody but the recipient can look inside"},
		{Name: "HTML_ACTIVE", Help: "The HTML holds scripts, forms, frames or programs"},
	},
	Settings: func() any { s := defaults(); return &s },
	New: func(section config.Section, _ filters.Env) (filters.Filter, error) {
		s := defaults()
		if err := section.Decode(&s); err != nil {
			return nil, err
		}
		if s.RulesText < 1 || s.MaxText < s.RulesText || s.MaxText > limit {
			return nil, fmt.Errorf("[filters.mime]: rules_text and max_text: set 1 or more, max_text not below rules_text and at most 1GiB")
		}
		return filter{s}, nil
	},
}

type filter struct{ settings Settings }

// Bound sets how much text of the message is read, before any filter asks for it.
func (f filter) Bound(tx *mail.Transaction) {
	mimeview.Bound(tx.Message, mimeview.Bounds{Text: int(f.settings.RulesText), MaxText: int(f.settings.MaxText)})
}

func (f filter) Inspect(_ context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	v := mimeview.Of(tx.Message)
	ambiguities := v.Ambiguities()
	if err := v.Err(); err != nil {
		return nil, err
	}
	var r report
	if f.settings.Outbound || !tx.Session.Outbound() {
		r.ambiguous(ambiguities)
	}
	if limits := v.Limits(); len(limits) > 0 {
		r.add("MIME_LIMIT", strings.Join(limits, ", "))
	}
	if cuts := v.Cuts(); len(cuts) > 0 {
		r.add("MIME_TEXT_LIMIT", strings.Join(cuts, ", "))
	}
	if f.settings.Outbound || !tx.Session.Outbound() {
		r.parts(v)
	}
	return r.found, nil
}

type report struct {
	found []filters.Finding
	grave bool
}

func (r *report) add(symbol, evidence string) {
	r.found = append(r.found, filters.Finding{Symbol: symbol, Evidence: filters.Printable(evidence)})
}

// ambiguous reports each kind of ambiguity where it was met first.
func (r *report) ambiguous(all []mimeview.Ambiguity) {
	seen := map[string]bool{}
	var odd []string
	for _, a := range all {
		r.grave = r.grave || a.Grave()
		if seen[a.Kind] {
			continue
		}
		seen[a.Kind] = true
		switch {
		case a.Kind == mimeview.MessagePartial:
			r.add("MIME_PARTIAL", place(a))
		case a.Kind == mimeview.MessageExternal:
			r.add("MIME_EXTERNAL_BODY", place(a))
		case a.Kind == mimeview.VersionMissing:
			r.add("MISSING_MIME_VERSION", a.Detail)
		case a.Grave():
			r.add("MIME_AMBIGUOUS", place(a))
		case a.Kind == mimeview.EncodedNoHeader || a.Kind == mimeview.NamesDiffer:
			// every PGP signature in a text is the one, RFC 2231 beside an older form for older readers the other
		default:
			odd = append(odd, place(a))
		}
	}
	if len(odd) > 0 {
		r.add("MIME_ODD", strings.Join(odd, ", "))
	}
}

func place(a mimeview.Ambiguity) string {
	text := fmt.Sprintf("%s at %d", a.Kind, a.Where)
	if a.Within != "" {
		text += " of " + a.Within
	}
	if a.Detail != "" {
		text += " (" + a.Detail + ")"
	}
	return text
}

// parts reports what single parts are.
func (r *report) parts(v *mimeview.View) {
	if root := v.Root(); root != nil {
		r.encrypted(v, root)
	}
	bogus := false
	for _, p := range v.Parts() {
		if p.Reading != "" {
			continue
		}
		if !bogus && p.Encoding == "base64" && !p.Attachment && p.Name == "" && len(p.Body) > 0 && bogusBase64(p.Body) {
			bogus = true
			r.add("MIME_BASE64_TEXT_BOGUS", p.Type)
		}
	}
	r.active(v)
}

// encrypted says so of a message that is (RFC 3156 section 4, RFC 8551 section 3.4): by what it holds, not by what it says.
func (r *report) encrypted(v *mimeview.View, root *mimeview.Part) {
	switch {
	case root.Type == "multipart/encrypted" && strings.EqualFold(root.Params["protocol"], "application/pgp-encrypted"):
		if slices.ContainsFunc(root.Parts, func(p *mimeview.Part) bool { return p.Encrypted && p.Reading == "" }) {
			r.add("ENCRYPTED_PGP", "")
		}
	case root.Type != "application/pkcs7-mime" && root.Type != "application/x-pkcs7-mime":
	case root.Params["smime-type"] == "enveloped-data" || root.Params["smime-type"] == "authEnveloped-data":
		if enveloped(v, root) {
			r.add("ENCRYPTED_SMIME", "")
		}
	}
}

// enveloped says whether a CMS content is one of the two encrypted ones: its type stands at its front (RFC 5652 section 3).
func enveloped(v *mimeview.View, root *mimeview.Part) bool {
	for _, o := range v.Objects() {
		if o.Part != root || o.Reading != "" {
			continue
		}
		head, err := o.Head(64)
		if err != nil || len(head) == 0 || head[0] != 0x30 { // not in DER: nothing that it says is known to be wrong
			return true
		}
		const pkcs7, smime = "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03", "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17"
		return bytes.Contains(head, []byte(pkcs7)) || bytes.Contains(head, []byte(smime))
	}
	return false
}

// bogusBase64: printable ASCII in lines of a length that mail may have (RFC 5322 section 2.1.1).
func bogusBase64(text []byte) bool {
	line := 0
	for _, c := range text {
		line++
		switch {
		case c == '\n':
			line = 0
		case c >= 0x7f || c < ' ' && c != '\r' && c != '\t' || line > 998:
			return false
		}
	}
	return true
}
