package mimeview

import (
	stdbase64 "encoding/base64"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"postern/internal/mail"
)

// attribute makes one of TNEF.
func attribute(level byte, id uint32, value string) string {
	b := []byte{level}
	b = binary.LittleEndian.AppendUint32(b, id)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(value)))
	b = append(b, value...)
	var sum uint16
	for i := range len(value) {
		sum += uint16(value[i])
	}
	return string(binary.LittleEndian.AppendUint16(b, sum))
}

func tnefOf(attributes ...string) string {
	return tnefSignature + "\x01\x00" + strings.Join(attributes, "")
}

func attachment(name, data string) string {
	return attribute(2, attRendering, strings.Repeat("\x00", 14)) + attribute(2, attAttachTitle, name+"\x00") + attribute(2, attAttachData, data)
}

// longName makes the properties of an attachment: its long name in UTF-16, and its data once more as an object.
func properties(name, object string) string {
	var b []byte
	le := binary.LittleEndian
	pad := func() {
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
	}
	b = le.AppendUint32(b, 2)
	b = le.AppendUint32(b, propAttachName<<16|0x1f)
	b = le.AppendUint32(b, 1)
	b = le.AppendUint32(b, uint32(2*len(name)+2))
	for _, c := range name + "\x00" {
		b = append(b, byte(c), 0)
	}
	pad()
	b = le.AppendUint32(b, propAttachData<<16|0x0d)
	b = le.AppendUint32(b, 1)
	b = le.AppendUint32(b, uint32(16+len(object)))
	b = append(b, "0123456789abcdef"+object...)
	pad()
	return attribute(2, attAttachment, string(b))
}

func inTNEF(t *testing.T, winmail, payload string) (*Object, *View) {
	t.Helper()
	v := New(mail.NewMessage([]byte("Content-Type: application/ms-tnef; name=winmail.dat\r\nContent-Transfer-Encoding: base64\r\n\r\n"+
		stdbase64.StdEncoding.EncodeToString([]byte(winmail))+"\r\n")), Options{})
	for _, o := range v.Objects() {
		if content, err := o.Head(1 << 20); err == nil && strings.HasPrefix(string(content), payload) {
			return o, v
		}
	}
	return nil, v
}

func TestTNEF(t *testing.T) {
	payload := eicar()
	lying := []byte(tnefOf(attachment("a.exe", payload)))
	binary.LittleEndian.PutUint32(lying[len(lying)-len(payload)-6:], 1<<31)
	for name, c := range map[string]struct{ winmail, file, kind string }{
		"attachment":         {tnefOf(attachment("a.exe", payload)), "a.exe", ""},
		"second":             {tnefOf(attachment("x.txt", "x"), attachment("a.exe", payload)), "a.exe", ""},
		"long name":          {tnefOf(attachment("A~1.EXE", payload), properties("long.exe", "y")), "long.exe", ""},
		"object":             {tnefOf(attribute(2, attRendering, ""), properties("long.exe", payload)), "long.exe", ""},
		"TNEF in TNEF":       {tnefOf(attachment("in.dat", tnefOf(attachment("a.exe", payload)))), "a.exe", ""},
		"TNEF in properties": {tnefOf(attribute(2, attRendering, ""), properties("m", tnefOf(attachment("a.exe", payload)))), "a.exe", ""},
		"lying length":       {string(lying), "", TNEFBroken},
	} {
		o, v := inTNEF(t, c.winmail, payload)
		if o == nil || c.file != "" && !slices.Contains(o.Names, c.file) {
			t.Errorf("%s: %+v, want %s; %v", name, o, c.file, v.Ambiguities())
		}
		if c.kind != "" && !slices.ContainsFunc(v.Ambiguities(), func(a Ambiguity) bool { return a.Kind == c.kind }) {
			t.Errorf("%s: %v", name, v.Ambiguities())
		}
	}
}

// binHexOf writes BinHex 4.0 with a wrong checksum, which no reader of ours minds.
func binHexOf(name, data string) string {
	const alphabet = "!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"
	stream := string(rune(len(name))) + name + "\x00TEXTttxt\x00\x00"
	stream += string(binary.BigEndian.AppendUint32(nil, uint32(len(data)))) + "\x00\x00\x00\x00\x00\x00" + data + "\x00\x00\x00\x00"
	stream = strings.ReplaceAll(stream, "\x90", "\x90\x00")
	var b strings.Builder
	bits, n := 0, 0
	for i := range len(stream) {
		bits, n = bits<<8|int(stream[i]), n+8
		for n >= 6 {
			n -= 6
			b.WriteByte(alphabet[bits>>n&0x3f])
		}
	}
	b.WriteByte(alphabet[bits<<(6-n)&0x3f])
	return "(This file must be converted with BinHex 4.0)\r\n\r\n:" + b.String() + ":\r\n"
}

func TestBinHex(t *testing.T) {
	for _, payload := range []string{eicar(), otherMarker} {
		out, v := look(t, "Content-Type: text/plain\r\n\r\nhello\r\n\r\n"+binHexOf("a.exe", payload), payload)
		if !out.found {
			t.Errorf("not found in %d objects", len(v.Objects()))
		}
	}
}

// What is larger than a block comes back whole, from memory and from a file, and again when it is opened again.
func TestLargeObjectsComeBack(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	content := make([]byte, 3<<20)
	for i := range content {
		content[i] = byte(random.Uint32())
	}
	var b strings.Builder
	b.WriteString("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	inner := "Content-Type: application/zip; name=a.zip\r\nContent-Transfer-Encoding: base64\r\n\r\n" + wrap(stdbase64.StdEncoding.EncodeToString(content))
	b.WriteString(wrap(stdbase64.StdEncoding.EncodeToString([]byte(inner))))
	spool := mail.Spool{Dir: t.TempDir()}
	if _, err := io.WriteString(&spool, b.String()); err != nil {
		t.Fatal(err)
	}
	m, err := spool.Finish()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	v := New(m, Options{Dir: t.TempDir()})
	defer v.Close()
	found := false
	for _, o := range v.Objects() {
		if !slices.Contains(o.Names, "a.zip") {
			continue
		}
		for range 2 {
			f, err := o.Open()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Seek(1<<20, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(f)
			if err != nil || string(rest) != string(content[1<<20:]) {
				t.Errorf("%d octets, %v", len(rest), err)
			}
			found = f.Close() == nil
		}
	}
	if !found || v.Err() != nil {
		t.Errorf("found %v, %v, limits %v", found, v.Err(), v.Limits())
	}
}

func wrap(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i += 76 {
		b.WriteString(text[i:min(i+76, len(text))] + "\r\n")
	}
	return b.String()
}

// Messages that nobody thought up: the structure of a plain one, with a few octets put in, taken out or doubled at
// random. At least 99 in 100 give the payload away or are gravely ambiguous. A payload that is not encoded may stand
// within an object, behind what the damage put before it or in the text that a lost delimiter leaves: all readers see it there.
func TestRandomDamage(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 11))
	all, found, either, inside := 0, 0, 0, 0
	for n := range 6000 {
		marker := make([]byte, 60)
		for i := range marker {
			marker[i] = byte(random.Uint32())
		}
		encoded := n%2 == 0
		coding, body := "base64", wrap(stdbase64.StdEncoding.EncodeToString(marker))
		if !encoded {
			marker = []byte(strings.NewReplacer("+", ".", "/", "!", "=", "").Replace(stdbase64.StdEncoding.EncodeToString(marker)))
			coding, body = "7bit", string(marker)
		}
		front := "From: a@a.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"foo\"\r\n\r\n--foo\r\nContent-Type: text/plain\r\n\r\nhello\r\n" +
			"--foo\r\nContent-Type: application/octet-stream; name=a.bin\r\nContent-Disposition: attachment; filename=a.bin\r\nContent-Transfer-Encoding: " + coding + "\r\n\r\n"
		front = damage(random, front)
		out, _ := look(t, front+body+"\r\n--foo--\r\n", string(marker))
		all++
		if out.found {
			found++
		}
		if out.inside {
			inside++
		}
		if out.found || out.grave || !encoded && out.inside {
			either++
		} else {
			t.Logf("missed: %q", front)
		}
	}
	t.Logf("%d messages, found at the front %d, within an object %d, found or grave %d", all, found, inside, either)
	if either*100 < all*99 {
		t.Errorf("%d of %d", either, all)
	}
}

func damage(random *rand.Rand, text string) string {
	pieces := []string{"\x00", "\r", "\n", "\r\n", " ", "\t", "(", ")", "(x)", "\"", ";", ",", "=", ":", "--", "foo", "--foo\r\n", "--foo--\r\n", "x", "\r\n ",
		"Content-Type: text/plain\r\n", "Content-Transfer-Encoding: 7bit\r\n", "base64", "boundary=bar", "=?utf-8?q?x?=", "\xff"}
	for range 1 + random.IntN(4) {
		at, piece := 20+random.IntN(len(text)-20), pieces[random.IntN(len(pieces))]
		switch random.IntN(3) {
		case 0:
			text = text[:at] + piece + text[at:]
		case 1:
			text = text[:at] + text[min(at+1+random.IntN(4), len(text)):]
		default:
			end := min(at+random.IntN(30), len(text))
			text = text[:end] + text[at:end] + text[end:]
		}
	}
	return text
}
