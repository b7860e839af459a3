package digest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
)

func key(n byte) []byte { return bytes.Repeat([]byte{n}, 32) }

func at() time.Time { return time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC) }

func signer(t *testing.T, keys ...[]byte) *Signer {
	t.Helper()
	s, err := NewSigner(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func address(text string) mail.Address {
	a, err := mail.ParseAddress(text)
	if err != nil {
		panic(err)
	}
	return a
}

func sample() Claim {
	return Claim{Action: Release, User: address("ann@ours.test"), Mailbox: address("info@ours.test"), Item: "01J9ABCDEF000001.1-1", Expires: at().Add(time.Hour)}
}

func sign(t *testing.T, s *Signer, c Claim) string {
	t.Helper()
	token, err := s.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestTokenSaysWhatWasSigned(t *testing.T) {
	s := signer(t, key(1))
	own := sample()
	own.Mailbox, own.Action = own.User, List
	own.Item = ""
	for _, c := range []Claim{sample(), own} {
		token := sign(t, s, c)
		if got, err := s.Open(token, at()); err != nil || got != c || len(token) > 180 || strings.ContainsAny(token, "+/=") {
			t.Errorf("%s: %+v, %v", token, got, err)
		}
	}
	for name, c := range map[string]Claim{"no action": {User: own.User, Mailbox: own.User}, "no user": {Action: List}, "odd id": {Action: Delete, User: own.User, Mailbox: own.User, Item: "../x"}} {
		if _, err := s.Sign(c); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
}

// One octet changed anywhere, and the token holds no more; nor does one of another gateway, or an old one.
func TestTokenCantBeMade(t *testing.T) {
	s := signer(t, key(1))
	token := sign(t, s, sample())
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		changed := bytes.Clone(raw)
		changed[i] ^= 1
		if _, err := s.Open(base64.RawURLEncoding.EncodeToString(changed), at()); !errors.Is(err, ErrToken) {
			t.Errorf("octet %d of %d changed: %v", i, len(raw), err)
		}
	}
	others := map[string]string{
		"another key": sign(t, signer(t, key(2)), sample()), "empty": "", "long": strings.Repeat("A", 10_000), "not base64": token + "!", "one more": token + "A",
		"cut": token[:len(token)-4], "padded": token + "==",
	}
	for name, token := range others {
		if _, err := s.Open(token, at()); !errors.Is(err, ErrToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An expired link gets the same answer as a forged one; the log says which it was.
func TestExpiredAndForgedLookAlike(t *testing.T) {
	s := signer(t, key(1))
	_, expired := s.Open(sign(t, s, sample()), at().Add(time.Hour))
	_, forged := s.Open(sign(t, signer(t, key(2)), sample()), at())
	if expired == nil || forged == nil || expired.Error() != forged.Error() || expired.Error() != ErrToken.Error() {
		t.Errorf("%v, %v", expired, forged)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("link", "expired", expired, "forged", forged)
	if !strings.Contains(log.String(), `expired="expired 2026`) || !strings.Contains(log.String(), `forged="forged`) {
		t.Error(log.String())
	}
}

func TestKeysAreChanged(t *testing.T) {
	old := sign(t, signer(t, key(1)), sample())
	both := signer(t, key(2), key(1))
	if _, err := both.Open(old, at()); err != nil {
		t.Error(err)
	}
	if _, err := signer(t, key(2)).Open(sign(t, both, sample()), at()); err != nil {
		t.Errorf("signed with the old key: %v", err)
	}
	if _, err := NewSigner(key(1)[:20]); err == nil {
		t.Error("a short key was taken")
	}
	if _, err := NewSigner(); err == nil {
		t.Error("no key was taken")
	}
}

func FuzzOpen(f *testing.F) {
	s, err := NewSigner(key(1))
	if err != nil {
		f.Fatal(err)
	}
	token, err := s.Sign(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token)
	f.Add("AQ")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := s.Open(text, at())
		if err != nil {
			if !errors.Is(err, ErrToken) {
				t.Error(err)
			}
			return
		}
		if again, err := s.Sign(c); err != nil || again != text {
			t.Errorf("%q holds, and was not signed", text)
		}
	})
}
