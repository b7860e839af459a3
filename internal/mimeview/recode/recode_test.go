package recode

import (
	"bytes"
	"encoding/base64"
	"flag"
	"io"
	"mime/quotedprintable"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/mimeview"
)

func octets(t testing.TB, c mail.Copy) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var update = flag.Bool("update", false, "write what comes out as what is wanted")

// Beside each message stands what becomes of it, or why it can't be.
func TestSevenBit(t *testing.T) {
	files, err := filepath.Glob("testdata/sevenbit/*.eml")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		c, err := SevenBit(mail.Copy{Message: mail.NewMessage(raw)})
		if err != nil {
			got = []byte("error: " + err.Error() + "\r\n")
		} else {
			got = octets(t, c)
			check(t, raw, got)
		}
		name := strings.TrimSuffix(file, ".eml") + ".want"
		if *update {
			if err := os.WriteFile(name, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", file, got, want)
		}
	}
}

// check fails if the second message is not 7 bits in lines of at most 998, or if a leaf of it holds something else.
func check(t testing.TB, before, after []byte) {
	t.Helper()
	plain := sevenBit(before)
	if plain && !bytes.Equal(before, after) {
		t.Fatal("a message in 7 bits was changed")
	}
	if !sevenBit(after) || !plain && HasLong(after) {
		t.Fatalf("not 7 bits, or a line too long:\n%q", after)
	}
	a, b := leaves(t, before), leaves(t, after)
	if len(a) != len(b) {
		t.Fatalf("%d leaves before, %d after:\n%q\n%q", len(a), len(b), before, after)
	}
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("leaf %d was\n%q\nis\n%q\nof\n%q", i, a[i], b[i], after)
		}
	}
}

// leaves are the types and the decoded contents of all leaves, in order.
func leaves(t testing.TB, raw []byte) (all []string) {
	root := mimeview.Of(mail.NewMessage(raw)).Root()
	var walk func(p *mimeview.Part)
	walk = func(p *mimeview.Part) {
		if p.Reading != "" || p.Within != "" {
			return
		}
		if strings.HasPrefix(p.Type, "multipart/") || p.Type == "message/rfc822" {
			all = append(all, p.Type)
			for _, inner := range p.Parts {
				walk(inner)
			}
			return
		}
		text := raw[p.Start:p.End]
		switch strings.ToLower(p.Encoding) {
		case "quoted-printable":
			decoded, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(text)))
			if err == nil {
				text = decoded
			}
		case "base64":
			decoded, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(text)))
			if err == nil {
				text = decoded
			}
		}
		all = append(all, p.Type+"\x00"+string(text))
	}
	if root != nil {
		walk(root)
	}
	return all
}

// Whatever comes, what comes out holds the same, in 7 bits.
func FuzzSevenBit(f *testing.F) {
	files, err := filepath.Glob("testdata/sevenbit/*.eml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := SevenBit(mail.Copy{Message: mail.NewMessage(raw)})
		if err == nil {
			check(t, raw, octets(t, c))
		}
	})
}

// How much text there is to look through has no part in where the parts are: the largest message that is taken can be written.
func TestMoreTextThanIsLookedThrough(t *testing.T) {
	raw := []byte("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" +
		strings.Repeat("Gr\xc3\xbc\xc3\x9fe aus K\xc3\xb6ln, jeden Tag frisch auf den Tisch.\r\n", 34<<20/50) + "--b--\r\n")
	c, err := SevenBit(mail.Copy{Message: mail.NewMessage(raw)})
	if err != nil {
		t.Fatal(err)
	}
	check(t, raw, octets(t, c))
}
