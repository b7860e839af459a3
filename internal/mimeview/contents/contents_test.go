package contents

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/mimeview/unpack"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func zipOf(t testing.TB, pairs ...string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		w, err := z.Create(pairs[i])
		must(t, err)
		_, err = w.Write([]byte(pairs[i+1]))
		must(t, err)
	}
	must(t, z.Close())
	return b.String()
}

// letter is a mail with attachments: name, content, name, content, ...
func letter(text string, pairs ...string) string {
	var b strings.Builder
	b.WriteString("From: a@b.example\nSubject: papers\nDate: today\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=part\n\n--part\nContent-Type: text/plain\n\n" + text + "\n")
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&b, "--part\nContent-Type: application/octet-stream; name=%q\nContent-Transfer-Encoding: base64\n\n%s\n", pairs[i], lines(pairs[i+1]))
	}
	b.WriteString("--part--\n")
	return b.String()
}

func lines(content string) string {
	coded := base64.StdEncoding.EncodeToString([]byte(content))
	var b strings.Builder
	for len(coded) > 76 {
		b.WriteString(coded[:76] + "\n")
		coded = coded[76:]
	}
	return b.String() + coded
}

func message(text string) *mail.Message {
	return mail.NewMessage([]byte(strings.ReplaceAll(text, "\n", "\r\n")))
}

func read(t testing.TB, m *mail.Message) *Found {
	t.Helper()
	found, err := Of(m).Read(context.Background())
	must(t, err)
	return found
}

func paths(f *Found) (all []string) {
	for _, i := range f.Items {
		all = append(all, i.Where())
	}
	return all
}

func TestWhatIsInAMessage(t *testing.T) {
	inner := letter("inner", "deep.zip", zipOf(t, "c.txt", "hello"))
	m := message(letter("hello", "a.zip", zipOf(t, "b.txt", "in the zip", "note.eml", inner), "plain.txt", "text"))
	defer m.Close()
	found := read(t, m)
	want := []string{"a.zip", "a.zip/b.txt", "a.zip/note.eml", "a.zip/note.eml/deep.zip", "a.zip/note.eml/deep.zip/c.txt", "plain.txt"}
	if got := paths(found); !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for _, i := range found.Items {
		if !i.Plain || i.Body || i.Object == nil || len(i.Path) > 1 && i.Parent == nil {
			t.Errorf("%s: %+v", i.Where(), i)
		}
	}
	if len(found.Limits)+len(found.Unscannable)+len(found.Encrypted) > 0 {
		t.Errorf("%+v", found)
	}
}

// What is too large to be kept is unpacked again, and all of it is what was looked at.
func TestOpenedAgain(t *testing.T) {
	large := strings.Repeat("a line that packs well, but not too well: 0123456789\n", 40_000)
	small := strings.Repeat("0123456789", 90_000) // eight of them and no more are kept
	pairs := []string{"large.txt", large}
	for n := range 12 {
		pairs = append(pairs, fmt.Sprintf("%d.txt", n), fmt.Sprint(n)+small)
	}
	m := message(letter("hello", "a.zip", zipOf(t, pairs...), "letter.eml", letter("inner", "b.zip", zipOf(t, "c.txt", large[:5000]+"other"))))
	defer m.Close()
	found := read(t, m)
	kept := 0
	for _, i := range found.Items {
		r, err := Of(m).Open(t.Context(), i)
		must(t, err)
		content, err := io.ReadAll(r)
		must(t, err)
		must(t, r.Close())
		if int64(len(content)) != i.Size || sum(content) != i.Hash {
			t.Errorf("%s: %d octets, want %d", i.Where(), len(content), i.Size)
		}
		if i.kept != nil {
			kept++
		}
	}
	if len(found.Items) != 17 || kept < 5 || kept > 12 {
		t.Errorf("%d items, %d of them kept: %q", len(found.Items), kept, paths(found))
	}
}

func TestManyAsk(t *testing.T) {
	m := message(letter("hello", "a.zip", zipOf(t, "b.txt", "in the zip")))
	defer m.Close()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			found, err := Of(m).Read(context.Background())
			if err != nil || len(found.Items) != 2 {
				t.Error(found, err)
			}
		})
	}
	all.Wait()
}

// The budget is the message's, not each attachment's.
func TestLimitsAreShared(t *testing.T) {
	var pairs []string
	for n := range 10 {
		pairs = append(pairs, fmt.Sprintf("%d.zip", n), zipOf(t, "x.txt", strings.Repeat(fmt.Sprint(n), 1000)))
	}
	for what, l := range map[string]Limits{"entries": {Entries: 7}, "total": {Total: 4000}, "time": {Time: time.Nanosecond}} {
		m := message(letter("hello", pairs...))
		Of(m).Bound(l)
		found := read(t, m)
		if !slices.ContainsFunc(found.Limits, func(l string) bool { return strings.HasSuffix(l, ": "+what) }) || len(found.Items) > 12 {
			t.Errorf("%s: %q, %d items", what, found.Limits, len(found.Items))
		}
		must(t, m.Close())
	}
}

// Mails within each other have an end.
func TestMailsInMails(t *testing.T) {
	text := letter("the last", "a.txt", "x")
	for n := range 6 {
		text = letter("hello", fmt.Sprintf("%d.zip", n), zipOf(t, "letter.eml", text))
	}
	m := message(text)
	defer m.Close()
	found := read(t, m)
	if !slices.ContainsFunc(found.Limits, func(l string) bool { return strings.HasSuffix(l, ": depth") }) {
		t.Errorf("%q, %q", found.Limits, paths(found))
	}
}

// A cancelled context is an error, never a message without attachments.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m := message(letter("hello", "a.zip", zipOf(t, "b.txt", "in the zip")))
	defer m.Close()
	if found, err := Of(m).Read(ctx); err == nil {
		t.Errorf("%+v", found)
	}
}

// A message that is closed while somebody reads gives all or an error.
func TestClosedWhileRead(t *testing.T) {
	m := message(letter("hello", "a.zip", zipOf(t, "b.txt", strings.Repeat("x", 1<<20))))
	var all sync.WaitGroup
	all.Go(func() {
		if found, err := Of(m).Read(context.Background()); err == nil && len(found.Items) != 2 {
			t.Errorf("%+v", found)
		}
	})
	must(t, m.Close())
	all.Wait()
}

// The text of a mail is no attachment, unless it is a program all the same.
func TestTextIsNoItem(t *testing.T) {
	for _, text := range []string{
		"hello", "#!/bin/sh\nrm x", "@echo off", "From: a\nTo: b\nSubject: c\n\nforwarded", "<html><script>x()</script>",
		"-----BEGIN PGP SIGNATURE-----\n\n" + lines(strings.Repeat("\x89\x02\x33", 100)) + "\n=abcd\n-----END PGP SIGNATURE-----",
	} {
		m := message("From: a@b.example\nMIME-Version: 1.0\n\n" + text + "\n")
		if found := read(t, m); len(found.Items) > 0 {
			t.Errorf("%.30q: %q", text, paths(found))
		}
		must(t, m.Close())
	}
	m := message("From: a@b.example\nMIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\n" + lines("MZ\x90"+strings.Repeat("\x00", 57)+"\x40\x00\x00\x00PE\x00\x00"+strings.Repeat("\x00", 200)) + "\n")
	defer m.Close()
	if found := read(t, m); len(found.Items) != 1 || !found.Items[0].Body {
		t.Errorf("%q", paths(found))
	}
}

func TestPasswordsFromTheText(t *testing.T) {
	for text, want := range map[string]string{
		"The password is secret.":                                "secret",
		"Password: P4ss.word!":                                   "P4ss.word!",
		"password for the archive: \"geheim 1\"":                 "geheim",
		"Das Passwort lautet 1234":                               "1234",
		"Le mot de passe est : Été2026":                          "Été2026",
		"La contraseña del archivo es abc123":                    "abc123",
		"PW: 7788":                                               "7788",
		"Use PIN 4711 to open it":                                "4711",
		"ПАРОЛЬ: 555":                                            "555",
		"the attached archive opens with 998877, as always":      "998877",
		"Tulip7 is the password.":                                "Tulip7",
		"As agreed, Tulip7 is your password for it":              "Tulip7",
		"Unlock with Tulip7":                                     "Tulip7",
		"The file opens with: Tulip7.":                           "Tulip7",
		"1234 ist das Passwort":                                  "1234",
		"Bitte die Datei öffnen mit Kennung88":                   "Kennung88",
		"Été26 est le mot de passe":                              "Été26",
		"abc123 es la contraseña":                                "abc123",
		"La password per aprire il file è Roma26":                "Roma26",
		"A senha do arquivo é Lisboa1":                           "Lisboa1",
		"Het wachtwoord voor het bestand is Delft9":              "Delft9",
		"Hasło do pliku to: Kot77":                               "Kot77",
		"Пароль к архиву: 55aa":                                  "55aa",
		"密码是8899。":                                               "8899",
		"解压码：８８９９":                                               "8899",
		"パスワードは7766です":                                           "7766",
		"Password\n\nxyzzy\n":                                    "xyzzy",
		"no hint at all":                                         "infected",
		strings.Repeat("password: wrong ", 500) + "PW: too late": "wrong",
	} {
		m := message("From: a@b.example\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n" + text + "\n")
		w := newWalk(Of(m), Limits{})
		got := w.passwords()
		if !slices.Contains(got, want) || len(got) > maxPasswords {
			t.Errorf("%.60q: %q, want %q in it", text, got, want)
		}
		must(t, m.Close())
	}
}

func TestLinksOfAttachments(t *testing.T) {
	m := message(letter("hello", "a.html", `<a href="https://a.example/x">x</a>`))
	defer m.Close()
	found := read(t, m)
	if len(found.Links) != 1 || found.Links[0].URL != "https://a.example/x" || found.Links[0].Item.Where() != "a.html" {
		t.Errorf("%+v", found.Links)
	}
}

// What comes twice is looked at once, unless it has another name.
func TestTheSameTwice(t *testing.T) {
	z := zipOf(t, "b.txt", "in the zip")
	m := message(letter("hello", "a.zip", z, "a.zip", z, "b.txt", "in the zip"))
	defer m.Close()
	if got := paths(read(t, m)); !slices.Equal(got, []string{"a.zip", "a.zip/b.txt"}) {
		t.Errorf("%q", got)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(letter("password: x", "a.zip", "PK\x03\x04", "b.eml", letter("x", "c.html", "<script>"))))
	f.Add([]byte("From: a\nContent-Type: application/pkcs7-mime; name=x.p7m\nContent-Transfer-Encoding: base64\n\nMIAGCSqGSIb3DQEHAqCAMIACAQExADCABgkqhkiG9w0BBwGggCSABAVoZWxsbwAAAAAAAAAAAAAAAA==\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := mail.NewMessage(raw)
		defer m.Close()
		Of(m).Bound(Limits{Total: 8 << 20, Entries: 200, Time: 5 * time.Second})
		found, err := Of(m).Read(context.Background())
		must(t, err)
		for n, i := range found.Items {
			if len(i.Path) == 0 || i.Object == nil || len(i.Types) == 0 {
				t.Fatalf("%+v", i)
			}
			if n > 20 || i.Has(unpack.LimitHit) {
				continue
			}
			r, err := Of(m).Open(t.Context(), i)
			if err != nil {
				t.Fatalf("%q: %v", i.Where(), err)
			}
			content, err := io.ReadAll(r)
			must(t, err)
			must(t, r.Close())
			if sum(content) != i.Hash {
				t.Fatalf("%q is another when it is opened again", i.Where())
			}
		}
	})
}

func FuzzCMS(f *testing.F) {
	f.Add([]byte("\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x80\x30\x80\x02\x01\x01\x31\x00\x30\x80\x06\x01\x01\xa0\x80\x24\x80\x04\x01x\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("-----BEGIN PKCS7-----\nMIAGCSqGSIb3DQEHAqCAMIACAQExADCABgkqhkiG9w0BBwGggCSABAVoZWxsbwAAAAAAAAAAAAAAAA==\n-----END PKCS7-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if inner, kind := openCMS(b); len(inner) > maxCMS || len(inner) > 0 && kind != cmsSigned {
			t.Fatalf("%q, %v", inner, kind)
		}
	})
}

func sum(b []byte) [32]byte { return sha256.Sum256(b) }
