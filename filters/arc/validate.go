package arc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"postern/filters"
	"postern/internal/mail"
	"postern/internal/mail/signature"
)

// Validator validates chains.
type Validator struct {
	DNS signature.TXT
	Now func() time.Time
	// MaxLookups is how many different keys of one chain are looked up.
	MaxLookups int
	// Trace is told each step, nil for nobody.
	Trace func(step string)
}

// Outcome is what came of a chain.
type Outcome struct {
	filters.ARC
	Chain signature.Chain
	// Malformed says that the chain broke a rule of structure, Limit that it was larger than is looked at.
	Malformed, Limit bool
}

func (v Validator) step(format string, args ...any) {
	if v.Trace != nil {
		v.Trace(fmt.Sprintf(format, args...))
	}
}

// Validate holds a message against RFC 8617 section 5.2. The error is one of reading the message.
func (v Validator) Validate(ctx context.Context, m *mail.Message) (Outcome, error) {
	chain, err := signature.ReadChain(m.Header())
	o := Outcome{Chain: chain}
	for _, s := range chain {
		if s.Seal != nil {
			o.Sealers = append(o.Sealers, s.Seal.Domain)
		}
	}
	switch {
	case err != nil:
		v.step("the structure of the chain: %v", err)
		o.Result, o.Why, o.Malformed, o.Limit = mail.AuthFail, err.Error(), true, errors.Is(err, signature.ErrTooManySets)
		return o, nil
	case len(chain) == 0:
		v.step("no ARC sets")
		o.Result = mail.AuthNone
		return o, nil
	}
	v.step("%d ARC sets, each whole, cv as it must be", len(chain))
	err = v.signatures(ctx, m, &o)
	return o, err
}

// signatures checks what is signed: section 5.2 steps 4 to 6.
func (v Validator) signatures(ctx context.Context, m *mail.Message, o *Outcome) error {
	var messages []*signature.Signature
	for _, s := range o.Chain {
		messages = append(messages, s.Message)
	}
	bodies, err := signature.HashBody(m.OpenBody(), messages...)
	if err != nil {
		return err
	}
	fields := signature.NewFields(m.Header())
	// step 4: the newest message signature. What fails without its key needs no key of any set.
	newest := len(o.Chain)
	if r := v.message(ctx, noKeys{}, o.Chain, newest, bodies, fields); r.Status != mail.AuthTempError {
		return v.failed(o, newest, signature.FieldAMS, r.Status, r.Why)
	}
	keys, ok := v.fetch(ctx, o.Chain)
	if !ok {
		v.step("more than %d different keys", v.MaxLookups)
		o.Result, o.Why, o.Limit = mail.AuthFail, fmt.Sprintf("more than %d different keys", v.MaxLookups), true
		return nil
	}
	r := v.message(ctx, keys, o.Chain, newest, bodies, fields)
	v.step("instance %d: %s of %s (s=%s): %s %s", newest, signature.FieldAMS, r.Signature.Domain, r.Signature.Selector, r.Status, r.Why)
	if r.Status != mail.AuthPass {
		return v.failed(o, newest, signature.FieldAMS, r.Status, r.Why)
	}
	// step 6: every seal, the newest first
	hashes := o.Chain.HashSeals()
	for i := newest; i >= 1; i-- {
		s := o.Chain[i-1].Seal
		status, why, _ := signature.CheckHash(ctx, keys, s.Selector, s.Domain, s.Algorithm, hashes[i-1], s.Sig)
		v.step("instance %d: %s of %s (s=%s): %s %s", i, signature.FieldAS, s.Domain, s.Selector, status, why)
		if status != mail.AuthPass {
			return v.failed(o, i, signature.FieldAS, status, why)
		}
	}
	o.Result = mail.AuthPass
	// step 5: how far back nothing was changed
	for i := newest - 1; i >= 1; i-- {
		r := v.message(ctx, keys, o.Chain, i, bodies, fields)
		v.step("instance %d: %s: %s %s", i, signature.FieldAMS, r.Status, r.Why)
		if r.Status != mail.AuthPass {
			o.OldestPass = i + 1
			break
		}
	}
	v.step("the chain passes; oldest-pass=%d", o.OldestPass)
	return nil
}

func (v Validator) message(ctx context.Context, keys signature.TXT, c signature.Chain, i int, bodies map[signature.Canonical]signature.BodyHash, fields signature.Fields) signature.Result {
	return signature.CheckMessage(ctx, keys, c[i-1].Message, bodies, fields, v.Now())
}

func (v Validator) failed(o *Outcome, i int, field string, status mail.AuthVerdict, why string) error {
	o.Result, o.Why = mail.AuthFail, fmt.Sprintf("instance %d: %s: %s", i, field, why)
	o.Temporary = status == mail.AuthTempError
	v.step("%s", o.Why)
	return nil
}

// noKeys has no answer to any question.
type noKeys struct{}

func (noKeys) LookupTXT(_ context.Context, name string) ([]string, error) {
	return nil, &net.DNSError{Err: "not asked", Name: name, IsTemporary: true}
}

// keyring holds what DNS said of all keys of a chain.
type keyring map[string]answer

type answer struct {
	texts []string
	err   error
}

func (k keyring) LookupTXT(_ context.Context, name string) ([]string, error) {
	return k[name].texts, k[name].err
}

// parallel is how many keys are looked up at once.
const parallel = 8

// fetch looks up the keys of all sets; ok is false if there are too many.
func (v Validator) fetch(ctx context.Context, c signature.Chain) (keys keyring, ok bool) {
	keys = keyring{}
	var names []string
	for i := len(c) - 1; i >= 0; i-- {
		for _, name := range []string{
			c[i].Seal.Selector + "._domainkey." + c[i].Seal.Domain,
			c[i].Message.Selector + "._domainkey." + c[i].Message.Domain,
		} {
			if _, known := keys[name]; !known {
				keys[name] = answer{}
				names = append(names, name)
			}
		}
	}
	if len(names) > v.MaxLookups {
		return nil, false
	}
	answers := make([]answer, len(names))
	places := make(chan struct{}, parallel)
	var all sync.WaitGroup
	for i, name := range names {
		places <- struct{}{}
		all.Go(func() {
			answers[i].texts, answers[i].err = v.DNS.LookupTXT(ctx, name)
			<-places
		})
	}
	all.Wait()
	for i, name := range names {
		keys[name] = answers[i]
	}
	return keys, true
}
