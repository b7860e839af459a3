package outbound

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/internal/mail/signature"
)

// Seal gives the ARC set for a copy that we pass on, to go on top of it: RFC 8617 section 5.1. results are what we found
// and wrote into Authentication-Results, cv is what came of validating the chain the copy has: "none", "pass" or "fail".
// It gives nothing where there is nothing to seal: the domain has no key, the chain was sealed as failed before, or it
// has no room for another set. A chain whose keys DNS did not give (filters.ARC.Temporary) must not be sealed at all.
func (s *Signer) Seal(ctx context.Context, c mail.Copy, domain, authservID string, results []mail.AuthResult, cv mail.AuthVerdict) ([]byte, error) {
	signer, keys := s.inUse(domain)
	if len(keys) == 0 {
		return nil, nil
	}
	h, err := copyHeader(c)
	if err != nil {
		return nil, err
	}
	before, failed := signature.Newest(h)
	switch {
	case failed, before == signature.MaxSets:
		// section 5.1: nothing is put on top of a chain that ends in cv=fail
		return nil, nil
	case before == 0 && cv != mail.AuthNone || before > 0 && cv != mail.AuthPass && cv != mail.AuthFail:
		return nil, fmt.Errorf("seal for %s: cv=%s does not fit a chain of %d sets", signer, cv, before)
	}
	// RFC 8617 knows rsa-sha256 only; where there is a key for it, it comes first
	seal := sealing{domain: signer, key: keys[0], now: s.now(), instance: before + 1, cv: cv, names: sealedNames(h), payload: payload(authservID, results)}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	fields, err := seal.fields(h, c)
	if err != nil {
		return nil, fmt.Errorf("seal for %s with %s: %w", signer, keys[0].selector, err)
	}
	return fields, nil
}

// copyHeader is the header of a copy: our fields on top, then the message's without those left out.
func copyHeader(c mail.Copy) (*mail.Header, error) {
	head, err := c.Message.Head(c.Message.BodyOffset())
	if err != nil {
		return nil, err
	}
	raw := slices.Clone(c.Top)
	at := int64(0)
	for _, o := range c.Omit {
		if o.From >= int64(len(head)) {
			break
		}
		raw = append(raw, head[at:o.From]...)
		at = o.To
	}
	return mail.ParseHeader(append(raw, head[at:]...)), nil
}

// payload is what an Authentication-Results field of ours would hold: section 4.1.1.
func payload(authservID string, results []mail.AuthResult) string {
	field := string(mail.FormatAuthResults(authservID, results))
	_, value, _ := strings.Cut(field, ":")
	return strings.TrimSpace(value)
}

// sealedNames lists the fields to sign. Authentication-Results and those of ARC are never among them (section 4.1.2);
// DKIM signatures are, because a later hop may want to know that they stood there.
func sealedNames(h *mail.Header) []string {
	names := []string{"from"} // once more than it is there, so that nobody can add one
	for _, name := range append(signable(), "DKIM-Signature") {
		for range min(h.Count(name), 20) {
			names = append(names, strings.ToLower(name))
		}
	}
	return names
}

// sealing is the making of one set.
type sealing struct {
	domain   string
	key      key
	now      time.Time
	instance int
	cv       mail.AuthVerdict
	names    []string
	payload  string
}

// fields makes the set, in the order of section 5.1: results, message signature, seal.
func (s sealing) fields(h *mail.Header, c mail.Copy) ([]byte, error) {
	unsigned := &signature.Signature{Header: signature.Relaxed, Body: signature.Relaxed, Names: s.names, Length: -1}
	bodies, err := signature.HashBody(c.OpenBody(), unsigned)
	if err != nil {
		return nil, err
	}
	algorithm := s.key.kind + "-sha256"
	own := signature.Set{AAR: newField(signature.FieldAAR, fmt.Sprintf("i=%d; %s", s.instance, s.payload))}

	var folded strings.Builder
	for i, name := range s.names {
		if i > 0 {
			folded.WriteString(":")
			if i%6 == 0 {
				folded.WriteString("\r\n\t ")
			}
		}
		folded.WriteString(name)
	}
	bh := base64.StdEncoding.EncodeToString(bodies[signature.Relaxed].Sum)
	message := func(b string) mail.Field {
		return newField(signature.FieldAMS, fmt.Sprintf("a=%s;\r\n\tb=%s;\r\n\tbh=%s; c=relaxed/relaxed;\r\n\td=%s;\r\n\th=%s;\r\n\ti=%d; s=%s; t=%d",
			algorithm, b, bh, s.domain, folded.String(), s.instance, s.key.selector, s.now.Unix()))
	}
	unsigned.Field = message("")
	b, err := s.sign(unsigned.HashHeader(signature.NewFields(h)))
	if err != nil {
		return nil, err
	}
	own.AMS = message(b)

	seal := func(b string) mail.Field {
		return newField(signature.FieldAS, fmt.Sprintf("a=%s;\r\n\tb=%s;\r\n\tcv=%s; d=%s;\r\n\ti=%d; s=%s; t=%d",
			algorithm, b, s.cv, s.domain, s.instance, s.key.selector, s.now.Unix()))
	}
	own.AS = seal("")
	// section 5.1.2: where the chain has failed, the seal covers its own set alone
	var chain signature.Chain
	if s.cv == mail.AuthPass {
		if chain, err = signature.ReadChain(h); err != nil || len(chain) != s.instance-1 {
			return nil, errors.Join(errors.New("the chain is not what cv=pass says"), err)
		}
	}
	hashes := append(chain, own).HashSeals()
	if b, err = s.sign(hashes[len(hashes)-1]); err != nil {
		return nil, err
	}
	own.AS = seal(b)
	return bytes.Join([][]byte{own.AS.Raw, own.AMS.Raw, own.AAR.Raw}, nil), nil
}

func newField(name, value string) mail.Field {
	return mail.Field{Name: name, Raw: []byte(name + ": " + value + "\r\n"), ValueAt: len(name) + 1}
}

// sign signs a hash.
func (s sealing) sign(hash []byte) (string, error) {
	var options crypto.SignerOpts = crypto.SHA256
	if s.key.kind == "ed25519" {
		options = crypto.Hash(0) // RFC 8463 section 3: the hash is what Ed25519 signs
	}
	sig, err := s.key.private.Sign(rand.Reader, hash, options)
	if err != nil {
		return "", err
	}
	text := base64.StdEncoding.EncodeToString(sig)
	// RFC 5322 section 2.1.1: no line over 998 octets. Up to there b= stays whole, which every verifier reads alike.
	const limit = 900
	if len(text) > limit {
		text = text[:limit] + "\r\n\t " + text[limit:]
	}
	return text, nil
}
