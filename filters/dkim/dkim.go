// Package dkim checks the DKIM signatures of a message: RFC 6376, RFC 8301, RFC 8463.
package dkim

import (
	"context"
	"fmt"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/mail/signature"
)

// Settings are the filter's settings.
type Settings struct {
	// MaxSignatures is how many signatures of a message are checked, from the top.
	MaxSignatures int `toml:"max_signatures"`
	// BodyLength says what a signature is worth that covers only the front of the body (l=): "policy" lets none pass,
	// "pass" judges it by that front. Anybody may have put anything behind it.
	BodyLength string `toml:"body_length"`
}

func defaults() Settings { return Settings{MaxSignatures: 8, BodyLength: "policy"} }

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:    "dkim",
	Help:    "Checks the DKIM signatures of a message (RFC 6376).",
	Stages:  mail.StageMessage,
	Timeout: 15 * time.Second,
	Symbols: []filters.Symbol{
		{Name: "R_DKIM_ALLOW", Score: -0.2, Help: "DKIM: a signature is good"},
		{Name: "R_DKIM_REJECT", Score: 1, Help: "DKIM: no signature is good, one does not fit the message"},
		{Name: "R_DKIM_TEMPFAIL", Score: 0, Help: "DKIM: no signature is good, for one DNS gave no key"},
		{Name: "R_DKIM_PERMFAIL", Score: 0, Help: "DKIM: no signature is good, none can be checked"},
		{Name: "R_DKIM_NA", Score: 0, Help: "DKIM: the message is not signed"},
		{Name: "DKIM_LIMIT", Score: 2, Help: "DKIM: more signatures than are checked"},
	},
	Settings: func() any { s := defaults(); return &s },
	New: func(section config.Section, env filters.Env) (filters.Filter, error) {
		s := defaults()
		if err := section.Decode(&s); err != nil {
			return nil, err
		}
		if s.MaxSignatures < 1 || s.MaxSignatures > 50 {
			return nil, fmt.Errorf("[filters.dkim]: max_signatures = %d: set it from 1 to 50", s.MaxSignatures)
		}
		if s.BodyLength != "policy" && s.BodyLength != "pass" {
			return nil, fmt.Errorf("[filters.dkim]: body_length = %q: set it to \"policy\" or \"pass\"", s.BodyLength)
		}
		return filter{env, s}, nil
	},
}

type filter struct {
	env      filters.Env
	settings Settings
}

func (f filter) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	if tx.Session.Outbound() {
		return nil, nil
	}
	v := signature.Verifier{DNS: f.env.DNS, Now: f.env.Now, Max: f.settings.MaxSignatures, AllowLength: f.settings.BodyLength == "pass"}
	results, err := v.Verify(ctx, tx.Message)
	if err != nil {
		return nil, err
	}
	value := make(filters.DKIM, 0, len(results))
	for _, r := range results {
		value = append(value, describe(r))
	}
	symbol := overall(value)
	found := []filters.Finding{{Symbol: symbol, Evidence: filters.Printable(evidence(value)), Value: value}}
	if n := tx.Message.Header().Count("DKIM-Signature"); n > f.settings.MaxSignatures {
		found = append(found, filters.Finding{Symbol: "DKIM_LIMIT", Evidence: fmt.Sprintf("%d signatures, %d checked", n, len(results))})
	}
	return found, nil
}

func describe(r signature.Result) filters.DKIMSignature {
	s := r.Signature
	d := filters.DKIMSignature{Result: r.Status, Domain: s.Domain, Selector: s.Selector, Identity: s.Identity, Algorithm: s.Algorithm, Why: r.Why}
	// RFC 6008 section 4: at least eight characters of b= tell signatures apart
	d.Sig = s.SigText[:min(8, len(s.SigText))]
	if r.Key != nil {
		d.KeyBits, d.Testing = r.Key.Bits, r.Key.Testing
	}
	return d
}

// overall is the one symbol of all signatures: RFC 6376 section 6.1 lets one good signature stand, whatever the others
// are, and a bad one count as none.
func overall(all filters.DKIM) string {
	symbol, rank := "R_DKIM_NA", 0
	for _, s := range all {
		// RFC 6376 section 3.6.1, t=y: such a signature must not make its mail any different from mail without one
		if s.Testing && s.Result != mail.AuthPermError {
			continue
		}
		this, r := "R_DKIM_PERMFAIL", 1
		switch s.Result {
		case mail.AuthPass:
			return "R_DKIM_ALLOW"
		case mail.AuthTempError:
			this, r = "R_DKIM_TEMPFAIL", 3
		case mail.AuthFail, mail.AuthPolicy:
			this, r = "R_DKIM_REJECT", 2
		default:
			// permerror, and whatever else is no word about the signature: RFC 6376 section 6.1
		}
		if r > rank {
			symbol, rank = this, r
		}
	}
	return symbol
}

func evidence(all filters.DKIM) string {
	var parts []string
	for _, s := range all {
		text := s.Domain
		if s.Selector != "" {
			text += ":s=" + s.Selector
		}
		if s.Result != mail.AuthPass {
			text = strings.TrimPrefix(text+": "+s.Why, ": ")
		}
		if s.Testing {
			text += " (the key says t=y: a test)"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}
