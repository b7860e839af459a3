package signature

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"postern/internal/mail"
)

// Result is what came of one signature, in the words of RFC 8601 section 2.7.1.
type Result struct {
	Signature *Signature
	Status    mail.AuthVerdict
	Key       *Key
	Why       string
}

// Verifier checks the DKIM signatures of messages.
type Verifier struct {
	DNS TXT
	Now func() time.Time
	// Max is how many signatures of a message are looked at, from the top.
	Max int
	// AllowLength lets a signature with l= pass on the front of the body that it signs: RFC 6376 section 8.2 says what
	// that is worth. Else its result is "policy".
	AllowLength bool
}

// Verify gives a result for each signature, top to bottom. The error is one of reading the message.
func (v Verifier) Verify(ctx context.Context, m *mail.Message) ([]Result, error) {
	var results []Result
	var readable []*Signature
	for _, f := range m.Header().All("DKIM-Signature") {
		if len(results) == v.Max {
			break
		}
		s, err := Parse(f)
		r := Result{Signature: s}
		if err != nil {
			r.Status, r.Why = mail.AuthPermError, err.Error()
		} else {
			readable = append(readable, s)
		}
		results = append(results, r)
	}
	bodies, err := HashBody(m.OpenBody(), readable...)
	if err != nil {
		return nil, err
	}
	fields := NewFields(m.Header())
	var all sync.WaitGroup
	for i := range results {
		r := &results[i]
		if r.Status != "" {
			continue
		}
		if r.checkBody(bodies[r.Signature.Body], v.Now(), v.AllowLength); r.Status != "" {
			continue
		}
		all.Go(func() { r.checkHeader(ctx, v.DNS, fields) })
	}
	all.Wait()
	return results, nil
}

// checkBody ends what needs no key: age, length and hash of the body.
func (r *Result) checkBody(body BodyHash, now time.Time, allowLength bool) {
	s := r.Signature
	sum := body.Sum
	partial := s.Length >= 0 && s.Length < body.Size
	if partial {
		sum = body.Front[s.Length]
	}
	switch {
	case !s.Expires.IsZero() && now.After(s.Expires):
		r.Status, r.Why = mail.AuthFail, "the signature has expired"
	case s.Length > body.Size:
		r.Status, r.Why = mail.AuthPermError, "l= is longer than the body"
	case partial && !allowLength:
		// RFC 6376 section 8.2: whoever handled the message may have put anything behind the signed part
		r.Status, r.Why = mail.AuthPolicy, fmt.Sprintf("l= leaves %d octets of the body unsigned", body.Size-s.Length)
	case !bytes.Equal(s.BodyHash, sum):
		r.Status, r.Why = mail.AuthFail, "the body was changed after signing"
	}
}

func (r *Result) checkHeader(ctx context.Context, txt TXT, fields Fields) {
	s := r.Signature
	r.Status, r.Why, r.Key = CheckHash(ctx, txt, s.Selector, s.Domain, s.Algorithm, s.HashHeader(fields), s.Sig)
	if r.Status == mail.AuthPass {
		r.checkStrict()
	}
	if r.Status != mail.AuthPass {
		return
	}
	// RFC 6376 section 8.15: what was put beside a signed field is not the signer's
	if more := s.repeated(fields); more != "" {
		r.Status, r.Why = mail.AuthPolicy, more
	}
}

// CheckHash looks up the keys at a selector and says whether one of them made the signature of a hash.
func CheckHash(ctx context.Context, txt TXT, selector, domain, algorithm string, hash, sig []byte) (status mail.AuthVerdict, why string, key *Key) {
	keys, err := LookupKeys(ctx, txt, selector, domain)
	var failure *net.DNSError
	switch {
	case errors.As(err, &failure) && !failure.IsNotFound:
		return mail.AuthTempError, "no answer from DNS for the key", nil
	case errors.As(err, &failure):
		return mail.AuthPermError, "no key at " + selector + "._domainkey." + domain, nil
	case err != nil:
		return mail.AuthPermError, err.Error(), nil
	}
	for _, k := range keys {
		err = k.Check(algorithm, hash, sig)
		switch {
		case err == nil:
			return mail.AuthPass, "", k
		case !errors.Is(err, errKind):
			status, why, key = mail.AuthFail, err.Error(), k
		case status == "":
			status, why, key = mail.AuthPermError, err.Error(), k
		}
	}
	return status, why, key
}

// CheckMessage checks one signature that Parse or ParseMessageSignature has read.
func CheckMessage(ctx context.Context, txt TXT, s *Signature, bodies map[Canonical]BodyHash, fields Fields, now time.Time) Result {
	r := Result{Signature: s}
	if r.checkBody(bodies[s.Body], now, false); r.Status == "" {
		r.checkHeader(ctx, txt, fields)
	}
	return r
}

// checkStrict holds t=s: RFC 6376 section 3.6.1.
func (r *Result) checkStrict() {
	s := r.Signature
	r.Status, r.Why = mail.AuthPass, ""
	domain := mail.ASCIIDomain(s.Identity[strings.LastIndexByte(s.Identity, '@')+1:])
	if r.Key.Strict && domain != s.Domain {
		r.Status, r.Why = mail.AuthPermError, "the key does not allow subdomains in i="
	}
}
