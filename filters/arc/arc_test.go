package arc

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"context"

	"postern/internal/mail"
	"postern/internal/testing/filtertest"
)

func TestCases(t *testing.T) { filtertest.Run(t, Spec) }

func FuzzInspect(f *testing.F) { filtertest.Fuzz(f, Spec) }

// counter counts the questions.
type counter struct{ n atomic.Int32 }

func (c *counter) LookupTXT(_ context.Context, name string) ([]string, error) {
	c.n.Add(1)
	return nil, &net.DNSError{Err: "none", Name: name, IsNotFound: true}
}

// hostile is a message with as many sets as may be, each with keys and a wide h= of its own.
func hostile(bh string) *mail.Message {
	var b strings.Builder
	wide := strings.Repeat(":x", 500)
	for i := 50; i >= 1; i-- {
		cv := "pass"
		if i == 1 {
			cv = "none"
		}
		fmt.Fprintf(&b, "ARC-Seal: i=%d; a=rsa-sha256; cv=%s; d=d%d.example; s=a; b=AAAA\r\n", i, cv, i)
		fmt.Fprintf(&b, "ARC-Message-Signature: i=%d; a=rsa-sha256; c=relaxed/relaxed; d=d%d.example; s=b; h=from%s; bh=%s; b=AAAA\r\n", i, i, wide, bh)
		fmt.Fprintf(&b, "ARC-Authentication-Results: i=%d; x.example; %s\r\n", i, strings.Repeat("(((", 500))
	}
	b.WriteString(strings.Repeat("X: y z\r\n", 800) + "From: a@b.example\r\n\r\n")
	return mail.NewMessage([]byte(b.String() + strings.Repeat("\r\n", 1<<20)))
}

// A chain asks no more than its limit, and nothing at all if its newest signature does not fit the body.
func TestHostileChainsAreBounded(t *testing.T) {
	// the hash of an empty body in relaxed form
	const empty = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
	for _, c := range []struct {
		bh     string
		atMost int
		limit  bool
		asked  int32
	}{{"AAAA", 100, false, 0}, {empty, 100, false, 100}, {empty, 50, true, 0}} {
		var dns counter
		o, err := Validator{DNS: &dns, Now: time.Now, MaxLookups: c.atMost}.Validate(t.Context(), hostile(c.bh))
		if err != nil || o.Result != "fail" || o.Limit != c.limit || dns.n.Load() != c.asked {
			t.Errorf("%+v: %d look-ups, %+v, %v", c, dns.n.Load(), o.ARC, err)
		}
	}
}

func BenchmarkHostileChain(b *testing.B) {
	m := hostile("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")
	for b.Loop() {
		if _, err := (Validator{DNS: &counter{}, Now: time.Now, MaxLookups: 100}).Validate(b.Context(), m); err != nil {
			b.Fatal(err)
		}
	}
}
