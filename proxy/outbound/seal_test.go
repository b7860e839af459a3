package outbound

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"postern/filters"
	"postern/filters/arc"
	"postern/internal/dns"
	"postern/internal/mail"
)

// hop is one gateway on the way: it validates and seals as ours does.
func hop(t *testing.T, s *Signer, r *dns.Resolver, message []byte) (sealed []byte, found filters.ARC) {
	t.Helper()
	m := mail.NewMessage(message)
	o, err := arc.Validator{DNS: r, Now: time.Now, MaxLookups: 50}.Validate(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	results := append(o.AuthResults(), mail.AuthResult{Method: "spf", Result: "fail", Props: []mail.AuthProp{{Type: "smtp", Property: "mailfrom", Value: `"; x=\` + "\r\nX: y"}}})
	c := mail.Copy{Top: append([]byte("Received: from x\r\n"), mail.FormatAuthResults("mx.corp.example", results)...), Message: m}
	fields, err := s.Seal(t.Context(), c, "corp.example", "mx.corp.example", results, o.Result)
	if err != nil {
		t.Fatal(err)
	}
	c.Top = append(fields, c.Top...)
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), o.ARC
}

func world(t *testing.T) (*Signer, *dns.Resolver) {
	t.Helper()
	s, zone := signer(t, time.Now())
	var text strings.Builder
	for name, txt := range zone {
		text.WriteString(name + " TXT " + txt + "\n")
	}
	r, err := dns.NewZoneResolver(text.String())
	if err != nil {
		t.Fatal(err)
	}
	return s, r
}

func TestSealedChainsPass(t *testing.T) {
	s, r := world(t)
	message := []byte(letter)
	for i, want := range []mail.AuthVerdict{"none", "pass", "pass", "pass"} {
		sealed, found := hop(t, s, r, message)
		if found.Result != want || found.OldestPass != 0 || len(found.Sealers) != i {
			t.Fatalf("hop %d: %+v", i, found)
		}
		if n := strings.Count(string(sealed), "ARC-Seal:"); n != i+1 {
			t.Fatalf("hop %d: %d seals\n%s", i, n, sealed)
		}
		message = sealed
	}
	// what is put on top of a chain that was changed covers itself alone, and nothing goes on top of that
	changed := bytes.Replace(message, []byte("Hello."), []byte("Hello!"), 1)
	failed, found := hop(t, s, r, changed)
	if found.Result != "fail" || !strings.Contains(string(failed), "cv=fail") {
		t.Fatalf("%+v\n%s", found, failed)
	}
	again, found := hop(t, s, r, failed)
	if found.Result != "fail" || strings.Count(string(again), "ARC-Seal:") != 5 {
		t.Errorf("%+v\n%s", found, again)
	}
	// a second From on top of a sealed message is not covered by it
	if _, found := hop(t, s, r, append([]byte("From: ceo@bank.example\r\n"), message...)); found.Result != "fail" {
		t.Errorf("a From put on top: %+v", found)
	}
}

// A list that changes the message and seals it again: what came before it can no longer be checked.
func TestOldestPass(t *testing.T) {
	s, r := world(t)
	message, _ := hop(t, s, r, []byte(letter))
	message, _ = hop(t, s, r, message)
	m := mail.NewMessage(bytes.Replace(message, []byte("Hello."), []byte("Hello, list."), 1))
	// the list is the third sealer: it validated before it changed anything
	fields, err := s.Seal(t.Context(), mail.Copy{Message: m}, "corp.example", "list.example", nil, "pass")
	if err != nil {
		t.Fatal(err)
	}
	head, err := m.Head(m.Size())
	if err != nil {
		t.Fatal(err)
	}
	if _, found := hop(t, s, r, append(fields, head...)); found.Result != "pass" || found.OldestPass != 3 {
		t.Errorf("%+v", found)
	}
}

func TestSealRefuses(t *testing.T) {
	s, r := world(t)
	sealed, _ := hop(t, s, r, []byte(letter))
	c := mail.Copy{Message: mail.NewMessage(sealed)}
	if fields, err := s.Seal(t.Context(), c, "other.example", "x", nil, "pass"); fields != nil || err != nil {
		t.Errorf("sealed without a key: %q, %v", fields, err)
	}
	for _, cv := range []mail.AuthVerdict{"none", "", "temperror"} {
		if fields, err := s.Seal(t.Context(), c, "corp.example", "x", nil, cv); err == nil {
			t.Errorf("sealed a chain with cv=%s: %q", cv, fields)
		}
	}
	full := mail.Copy{Message: mail.NewMessage([]byte("ARC-Seal: i=50; cv=pass\r\n" + letter))}
	if fields, err := s.Seal(t.Context(), full, "corp.example", "x", nil, "fail"); fields != nil || err != nil {
		t.Errorf("a 51st set: %q, %v", fields, err)
	}
}
