package filters

import (
	"context"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"postern/internal/mimeview/confusable"
	"postern/internal/state"
)

// Partners are the organisations that our users write to. A domain that looks like a partner's is found by forms of its
// name that both have: as it looks, without hyphens, with any one letter left out.

const (
	kindPartner = "partner"
	kindForm    = "partner-form"
	// minForm is the length of a name from which one letter may differ, maxFormed that beyond which none may.
	minForm   = 6
	maxFormed = 24
)

// SetPartner remembers an organisation that a user of ours wrote to, for a time.
func SetPartner(ctx context.Context, s *state.State, domain string, keep time.Duration) {
	org := RegisteredDomain(domain)
	if _, known := s.Get(ctx, state.Key(kindPartner, org)); known || IsFreemail(org) {
		s.Put(ctx, state.Key(kindPartner, org), []byte{1}, keep)
		return
	}
	s.Put(ctx, state.Key(kindPartner, org), []byte{1}, keep)
	for _, form := range forms(org) {
		s.PutNew(ctx, state.Key(kindForm, form), []byte(org), keep)
	}
}

// PartnerLike is the partner whose domain a foreign one looks like, "" for none and for a partner itself.
func PartnerLike(ctx context.Context, s *state.State, domain string) string {
	org := RegisteredDomain(domain)
	if _, known := s.Get(ctx, state.Key(kindPartner, org)); known {
		return ""
	}
	suffix := suffixOf(org)
	for i, form := range forms(org) {
		partner, ok := s.Get(ctx, state.Key(kindForm, form))
		if !ok || string(partner) == org {
			continue
		}
		// the same name below another suffix is common for short names and a letter less for all
		if sameSuffix := suffixOf(string(partner)) == suffix; sameSuffix || i == 0 && len(form) >= minForm+2 {
			return string(partner)
		}
	}

	return ""
}

func suffixOf(org string) string {
	_, suffix, _ := strings.Cut(org, ".")

	return suffix
}

// forms are the name of an organisation as it looks, without hyphens, and the same with one letter less.
func forms(org string) []string {
	label, _, _ := strings.Cut(org, ".")
	shown, err := idna.ToUnicode(label)
	if err != nil {
		shown = label
	}
	look := strings.NewReplacer("rn", "m", "vv", "w", "0", "o", "1", "l", "i", "l", "-", "").Replace(strings.ToLower(confusable.Fold(shown)))
	all := []string{look}
	if n := len(look); n < minForm || n > maxFormed {
		return all
	}
	for i := range look {
		if form := look[:i] + look[i+1:]; !slices.Contains(all, form) {
			all = append(all, form)
		}
	}

	return all
}
