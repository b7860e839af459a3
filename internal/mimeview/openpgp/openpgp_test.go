package openpgp

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"encoding/base64"
	"io"
	"strings"
	"testing"
)

// packet is one in the new format, in chunks of 512 octets if it is long.
func packet(tag byte, body []byte) []byte {
	out := []byte{0xC0 | tag}
	for len(body) > 512 {
		out = append(append(out, 224+9), body[:512]...)
		body = body[512:]
	}
	if len(body) < 192 {
		out = append(out, byte(len(body)))
	} else {
		out = append(out, byte((len(body)-192)>>8)+192, byte(len(body)-192))
	}
	return append(out, body...)
}

// old is one in the old format, of indeterminate length.
func old(tag byte, body []byte) []byte { return append([]byte{0x80 | tag<<2 | 3}, body...) }

func literal(name, text string) []byte {
	return append([]byte{'b', byte(len(name))}, name+"\x00\x00\x00\x00"+text...)
}

func zipped(body []byte) []byte {
	var b bytes.Buffer
	b.WriteByte(1)
	w, _ := flate.NewWriter(&b, 9)
	_, _ = w.Write(body)
	_ = w.Close()
	return b.Bytes()
}

func zlibbed(body []byte) []byte {
	var b bytes.Buffer
	b.WriteByte(2)
	w := zlib.NewWriter(&b)
	_, _ = w.Write(body)
	_ = w.Close()
	return b.Bytes()
}

func read(t *testing.T, message []byte) (found Found, all []string) {
	t.Helper()
	found, err := Read(bytes.NewReader(message), func(l Literal) error {
		text, err := io.ReadAll(l.Content)
		all = append(all, l.Name+":"+string(text))
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return found, all
}

func TestWhatIsThereWithoutAKey(t *testing.T) {
	long := strings.Repeat("long text ", 500)
	for name, c := range map[string]struct {
		message   []byte
		want      string
		encrypted bool
	}{
		"stored":                {packet(11, literal("a.txt", "hello")), "a.txt:hello", false},
		"in the old format":     {old(11, literal("", "hello")), ":hello", false},
		"in chunks":             {packet(11, literal("", long)), ":" + long, false},
		"compressed":            {packet(8, zipped(packet(11, literal("b", "hello")))), "b:hello", false},
		"compressed otherwise":  {old(8, zlibbed(old(11, literal("b", long)))), "b:" + long, false},
		"signed":                {append(packet(4, make([]byte, 13)), packet(11, literal("", "x"))...), ":x", false},
		"encrypted":             {append(packet(1, make([]byte, 20)), packet(18, make([]byte, 100))...), "", true},
		"by a passphrase":       {append(packet(3, make([]byte, 20)), packet(9, make([]byte, 100))...), "", true},
		"a key, but no secret":  {append(packet(1, make([]byte, 20)), packet(11, literal("", "x"))...), ":x", true},
		"a secret and a public": {append(packet(18, make([]byte, 20)), packet(11, literal("", "x"))...), ":x", true},
		"something else":        {[]byte("hello"), "", false},
		"cut short":             {packet(11, literal("a", long))[:600], "a:" + long[:len(packet(11, literal("a", long))[:600])-7-3-1], false},
	} {
		found, all := read(t, c.message)
		if got := strings.Join(all, " | "); name != "cut short" && got != c.want || name == "cut short" && !strings.HasPrefix(got, "a:long text") {
			t.Errorf("%s: %.60q", name, got)
		}
		if found.Encrypted != c.encrypted {
			t.Errorf("%s: encrypted %v", name, found.Encrypted)
		}
	}
}

func TestBoundsAreNamed(t *testing.T) {
	deep := packet(11, literal("", "x"))
	for range maxDepth + 1 {
		deep = packet(8, zipped(deep))
	}
	if found, _ := read(t, deep); !found.Cut {
		t.Error("too deep, and not said")
	}
	if found, _ := read(t, bytes.Repeat(packet(10, []byte("PGP")), maxPackets+1)); !found.Cut {
		t.Error("too many, and not said")
	}
}

func TestArmor(t *testing.T) {
	coded := base64.StdEncoding.EncodeToString([]byte("\xC0hello"))
	for _, text := range []string{
		"x\r\n-----BEGIN PGP MESSAGE-----\r\nVersion: 1\r\n\r\n" + coded + "\r\n=abcd\r\n-----END PGP MESSAGE-----\r\n",
		"-----BEGIN PGP MESSAGE-----\n\n" + coded + "\n-----END PGP MESSAGE-----",
		"-----BEGIN PGP MESSAGE, PART 01/02-----\n" + coded,
	} {
		from, end, after, ok := Armor([]byte(text))
		if got := strings.TrimSpace(text[from:end]); !ok || got != coded || after > len(text) {
			t.Errorf("%q gives %q", text, got)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(packet(11, literal("a", "b")))
	f.Add(packet(8, zipped(old(11, literal("a", "b")))))
	f.Add(append(packet(1, make([]byte, 20)), packet(18, make([]byte, 100))...))
	f.Fuzz(func(t *testing.T, message []byte) {
		_, err := Read(bytes.NewReader(message), func(l Literal) error {
			_, _ = io.Copy(io.Discard, io.LimitReader(l.Content, 1<<20))
			return nil
		})
		_ = err
		if from, end, after, ok := Armor(message); ok && (from > end || end > len(message) || after > len(message) || after < from) {
			t.Fatal(from, end, after)
		}
	})
}
