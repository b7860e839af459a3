package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"postern/internal/mail"
	"postern/internal/mail/signature"
	"postern/policy/records/ledger"
)

// maxExplained is how many signatures are explained: as many as the filter checks.
const maxExplained = 8

// explainDKIM says step by step what RFC 6376 section 6.1 does with each signature, so that one can see where it breaks.
func explainDKIM(ctx context.Context, out io.Writer, dns signature.TXT, m *mail.Message) error {
	fields := signature.NewFields(m.Header())
	for i, field := range m.Header().All("DKIM-Signature") {
		if i == maxExplained {
			fmt.Fprintf(out, "    more than %d signatures: the rest is not looked at\n", maxExplained)
			break
		}
		s, err := signature.Parse(field)
		if err != nil {
			fmt.Fprintf(out, "    signature %d can't be used: %s\n", i+1, ledger.Printable(err.Error()))
			continue
		}
		step := func(format string, args ...any) {
			fmt.Fprintln(out, "    "+ledger.Printable(fmt.Sprintf(format, args...)))
		}
		step("signature %d of %s, selector %s, %s, canonical form %s/%s", i+1, s.Domain, s.Selector, s.Algorithm, s.Header, s.Body)
		step("  signs %s", strings.Join(s.Names, ", "))
		if !s.Expires.IsZero() {
			step("  expires %s", s.Expires.UTC().Format("2006-01-02 15:04:05 UTC"))
		}
		explainKey(ctx, step, dns, s)
		if err := explainBody(step, s, m); err != nil {
			return err
		}
		hash := s.HashHeader(fields)
		status, why, _ := signature.CheckHash(ctx, dns, s.Selector, s.Domain, s.Algorithm, hash, s.Sig)
		if why != "" {
			why = ": " + why
		}
		step("  signature of the header: %s%s", status, why)
	}
	return nil
}

func explainKey(ctx context.Context, step func(string, ...any), dns signature.TXT, s *signature.Signature) {
	name := s.Selector + "._domainkey." + s.Domain
	records, err := dns.LookupTXT(ctx, name)
	if err != nil {
		step("  %s TXT: %v", name, err)
		return
	}
	for _, r := range records {
		step("  %s TXT: %s", name, r)
		switch key, err := signature.ParseKey(r); {
		case err != nil:
			step("    not a key that can be used: %v", err)
		case key.Testing:
			step("    %d bits; t=y: the domain is only trying DKIM out", key.Bits)
		default:
			step("    %d bits", key.Bits)
		}
	}
}

func explainBody(step func(string, ...any), s *signature.Signature, m *mail.Message) error {
	hashes, err := signature.HashBody(m.OpenBody(), s)
	if err != nil {
		return err
	}
	h := hashes[s.Body]
	sum := h.Sum
	if s.Length >= 0 {
		step("  l=%d of %d octets of the body are signed; what stands behind them could be anybody's", s.Length, h.Size)
		sum = h.Front[s.Length]
	}
	if bytes.Equal(sum, s.BodyHash) {
		step("  body hash: as signed")
		return nil
	}
	step("  body hash: %s, signed was %s: the body was changed", base64.StdEncoding.EncodeToString(sum), base64.StdEncoding.EncodeToString(s.BodyHash))
	return nil
}
