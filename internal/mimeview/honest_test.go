package mimeview

import (
	"bytes"
	stdbase64 "encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/internal/mail"
)

// honestShapes are messages of programs that people use, in the forms that a strict parser once took for an attack.
func honestShapes() map[string]string {
	head := "From: Ann <ann@sender.example>\r\nTo: Bob <bob@receiver.test>\r\nSubject: hello\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@sender.example>\r\nMIME-Version: 1.0\r\n"
	text := "Content-Type: text/plain; charset=utf-8\r\n\r\nHello\r\n"
	multi := head + "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n" + text + "--o\r\n"
	file := func(fields string) string {
		return multi + fields + "Content-Transfer-Encoding: base64\r\n\r\naGVsbG8sIHdvcmxk\r\n--o--\r\n"
	}
	inner := "From: eve@x.example\r\nSubject: inner\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n" +
		"Content-Type: multipart/alternative; boundary=j\r\n\r\n--j\r\n" + text + "--j\r\nContent-Type: text/html\r\n\r\n<p>hello\r\n--j--\r\n" +
		"--i\r\nContent-Type: image/png; name=a.png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n--i--\r\n"
	shapes := map[string]string{
		"names in pieces, in two":     file("Content-Type: application/pdf\r\nContent-Disposition: attachment;\r\n filename*0=\"Report for the year \";\r\n filename*1=\"2026.pdf\"\r\n"),
		"an ending cut in two":        file("Content-Type: application/pdf\r\nContent-Disposition: attachment;\r\n filename*0=\"Report.d\";\r\n filename*1=\"ocx\"\r\n"),
		"a letter cut in two":         file("Content-Type: application/pdf\r\nContent-Disposition: attachment;\r\n filename*0*=utf-8''%C3;\r\n filename*1*=%BCber.pdf\r\n"),
		"pieces, plain and extended":  file("Content-Type: application/pdf; name=\"=?utf-8?q?=C3=BCber_alles.pdf?=\"\r\nContent-Disposition: attachment;\r\n filename*0*=utf-8''%C3%BCber%20;\r\n filename*1=alles.pdf\r\n"),
		"an older form beside it":     file("Content-Type: application/pdf; name=\"uber.pdf\"\r\nContent-Disposition: attachment; filename=\"uber.pdf\"; filename*=UTF-8''%C3%BCber%2Epdf\r\n"),
		"two spellings of a type":     file("Content-Type: image/jpeg; name=\"photo.jpeg\"\r\nContent-Disposition: attachment; filename=\"photo.jpg\"\r\n"),
		"a sentence for a name":       file("Content-Type: application/pdf; name=\"Letter to Dr. Smith\"\r\nContent-Disposition: attachment; filename=\"Letter to Dr. Smith.pdf\"\r\n"),
		"brackets in a name":          file("Content-Type: application/pdf; name=report (1).pdf\r\nContent-Disposition: attachment; filename=report (1).pdf\r\n"),
		"types that differ in a case": head + "Content-Type: text/plain; charset=utf-8\r\nContent-Type: TEXT/PLAIN; charset=\"iso-8859-1\"\r\n\r\nhello\r\n",
		"three equal encodings":       head + "Content-Type: text/plain\r\nContent-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: 8bit\r\nContent-Transfer-Encoding: 7bit\r\n\r\nhello\r\n",
		"a header of 300 KB":          "X-Trace: " + strings.Repeat("0123456789abcdef\r\n ", 300<<10/19) + "\r\n" + head + text,
		"a message in a digest":       head + "Content-Type: multipart/digest; boundary=o\r\n\r\n--o\r\n\r\nMIME-Version: 1.0\r\nFrom: x@y.example\r\n" + text + "--o--\r\n",
		"the header that came back":   multi + "Content-Type: text/rfc822-headers\r\n\r\nContent-Type: text/html\r\nMIME-Version: 1.0\r\nTo: x@y.example\r\n--o--\r\n",
		"a returned part of one":      multi + "Content-Type: message/partial\r\n\r\nFrom: x@y.example\r\n" + text + "--o--\r\n",
		"a message in base64":         multi + "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + wrap(stdbase64.StdEncoding.EncodeToString([]byte(inner))) + "--o--\r\n",
		"a closing line twice":        multi + text + "--o--\r\n--o\r\n" + text + "--o--\r\n",
		"a signature and a dash":      multi + text + "-- \r\nContent-Type: is what he wrote\r\n--o--\r\n",
	}
	for _, kind := range []string{"message/rfc822", "message/global"} {
		shapes["nested multiparts in "+kind] = multi + "Content-Type: " + kind + "\r\n\r\n" + inner + "--o--\r\n"
		shapes["nested multiparts cut short in "+kind] = multi + "Content-Type: " + kind + "\r\n\r\n" + inner[:len(inner)-20] + "\r\n--o--\r\n"
		shapes[kind+" that begins with its fields"] = multi + "Content-Type: " + kind + "\r\n\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\nFrom: x@y.example\r\n\r\n<p>hello</p>\r\n--o--\r\n"
	}
	for _, field := range []string{"DKIM-Signature", "ARC-Message-Signature", "X-Google-DKIM-Signature", "X-MS-Exchange-Trace", "Received"} {
		for _, word := range []string{"MIME-Version:Content-Type", "Content-Type:Content-Transfer-Encoding:MIME-Version", "content-transfer-encoding:to", "content-type : mime-version", "Content-ID:Content-Description:Resent-Date", "Content-Disposition:From"} {
			for _, fold := range []string{"\r\n\t", "\r\n ", "\r\n        "} {
				shapes[fmt.Sprintf("%s folded by %q before %s", field, fold, word)] = field + ": v=1; d=sender.example; h=From:Subject:" + fold + word + ";" + fold + "bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=TVqQAAMAAAAEAAAA\r\n" + head + text
			}
		}
	}
	return shapes
}

func TestHonestStructureIsNotHeld(t *testing.T) {
	all := honestShapes()
	files, err := filepath.Glob("testdata/honest/*.eml")
	if err != nil || len(files) < 10 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[file] = string(raw)
	}
	for name, message := range all {
		v := New(mail.NewMessage([]byte(message)), Options{})
		for _, a := range v.Ambiguities() {
			if a.Grave() {
				t.Errorf("%s: %+v", name, a)
			}
		}
		if len(v.Limits()) > 0 {
			t.Errorf("%s: limits %v", name, v.Limits())
		}
	}
}

func TestNamesAreJoinedBeforeTheyAreDecoded(t *testing.T) {
	for field, want := range map[string][]string{
		"Content-Disposition: attachment; filename*0*=utf-8''%C3; filename*1*=%BC.exe":                  {"ü.exe"},
		"Content-Disposition: attachment; filename*1=ar.exe; filename*0=b":                              {"bar.exe"},
		"Content-Disposition: attachment; filename*0=a.exe; filename*2=.txt":                            {"a.exe", "a.exe.txt"},
		"Content-Disposition: filename=invoice.js":                                                      {"invoice.js"},
		"Content-Disposition: attachment; filename=invoice.js (x)":                                      {"invoice.js"},
		"Content-Disposition: attachment; (x) filename=invoice.js":                                      {"invoice.js"},
		"Content-Disposition: attachment; filename=(x)invoice.js":                                       {"invoice.js"},
		"Content-Disposition: attachment; filename (a (b)) = \"invoice.js\" (c)":                        {"invoice.js"},
		"Content-Disposition: (x) filename=\"invoice.js\"":                                              {"invoice.js"},
		"Content-Type: name=\"invoice.js\"":                                                             {"invoice.js"},
		"Content-Type: (c) name=invoice.js":                                                             {"invoice.js"},
		"Content-Disposition: attachment; filename=\"a (1).pdf\"":                                       {"a (1).pdf"},
		"Content-Disposition: attachment; filename=x.settingcontent-ms":                                 {"x.settingcontent-ms"},
		"Content-Disposition: attachment; filename*0*=utf-8''a%2E; filename*1=exe; filename=\"b\"":      {"b", "a.exe"},
		"Content-Disposition: attachment; filename*0=\"=?utf-8?b?aW52b2lj\"; filename*1=\"ZS5qcw==?=\"": {"invoice.js"},
	} {
		v := New(mail.NewMessage([]byte("MIME-Version: 1.0\r\n"+field+"\r\n\r\nhello\r\n")), Options{})
		for _, name := range want {
			if !slices.Contains(v.Root().Names, name) {
				t.Errorf("%s: %q", field, v.Root().Names)
			}
		}
	}
}

// Signatures and what else is base64 in a header are fields, whatever octets they stand for: no object comes of them.
func TestNoContentComesOfAHeader(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 5))
	octets := make([]byte, 256)
	magics := []string{"MZ", "PK\x03\x04", "\x1f\x9d", "%PDF-1.7", "\x7fELF", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Rar!\x1a\x07", "\x78\x9f\x3e\x22", "begin 644 x\n"}
	var b bytes.Buffer
	for n := range generated {
		for i := range octets {
			octets[i] = byte(random.Uint32())
		}
		if n%2 == 0 {
			copy(octets, magics[n/2%len(magics)])
		}
		coded := stdbase64.StdEncoding.EncodeToString(octets)
		b.Reset()
		switch n % 4 {
		case 0, 1:
			fmt.Fprintf(&b, "DKIM-Signature: v=1; a=rsa-sha256; d=a.example; s=k;\r\n\th=From:Subject:\r\n\tMIME-Version:Content-Type; bh=%s;\r\n\tb=%s\r\n\t %s\r\n", coded[:44], coded[:76], coded[76:])
		case 2:
			fmt.Fprintf(&b, "In-Reply-To: <%s@a.example>\r\nX-Data: %s\r\n", coded[:60], coded)
		default:
			fmt.Fprintf(&b, "X-Data:\r\n %s\r\n %s\r\n", coded[:76], coded[76:])
		}
		b.WriteString("From: a@a.example\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nhello\r\n")
		v := New(mail.NewMessage(bytes.Clone(b.Bytes())), Options{})
		if got := v.Objects(); len(got) != 1 || got[0].Reading != "" || len(v.Limits()) > 0 {
			t.Fatalf("%s\n%d objects, limits %v", b.String(), len(got), v.Limits())
		}
		for _, a := range v.Ambiguities() {
			if a.Grave() {
				t.Fatalf("%s\n%+v", b.String(), a)
			}
		}
	}
}

// One content under many names goes by all of them: the hundredth is opened like the first.
func TestEqualContentsKeepAllTheirNames(t *testing.T) {
	var b strings.Builder
	b.WriteString("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n")
	for n := range 200 {
		fmt.Fprintf(&b, "--o\r\nContent-Type: text/plain; name=a%d.txt\r\n\r\nWScript.Shell\r\n", n)
	}
	b.WriteString("--o\r\nContent-Type: application/octet-stream; name=invoice.js\r\n\r\nWScript.Shell\r\n--o--\r\n")
	v := New(mail.NewMessage([]byte(b.String())), Options{})
	all := v.Objects()
	if len(all) != 1 || !slices.Contains(all[0].Names, "invoice.js") || len(all[0].Parts) != 201 || !slices.Contains(all[0].Types, "application/octet-stream") {
		t.Errorf("%d objects, %d names, %d parts", len(all), len(all[0].Names), len(all[0].Parts))
	}
	if got := v.Limits(); len(got) != 0 {
		t.Error(got)
	}
}

// What is bounded and reached says so.
func TestReachedBoundsAreNamed(t *testing.T) {
	var names, types, guesses strings.Builder
	for n := range maxNames + 1 {
		fmt.Fprintf(&names, ";\r\n filename*%d=a%d.txt", 2*n, n)
	}
	for n := range maxPerKind + 2 {
		fmt.Fprintf(&types, "Content-Type: text/x%d; name=a%d.js\r\n", n, n)
	}
	for n := range maxGuesses + 1 {
		fmt.Fprintf(&guesses, "--b%d\r\nContent-Type: text/plain\r\n\r\nx\r\n", n)
	}
	for message, want := range map[string]string{
		"Content-Disposition: attachment" + names.String() + "\r\n\r\nx": LimitParams,
		types.String() + "\r\nx":                              LimitParams,
		"Content-Type: text/plain\r\n\r\n" + guesses.String(): LimitReadings,
		"Content-Type: text/plain\r\n" + strings.Repeat("X: y\r\njunk\r\n", maxBodies+2) + "\r\nx": LimitReadings,
		"Content-Type: multipart/mixed; boundary=" + strings.Repeat("a,", 3000) + "\r\n\r\nx":      LimitParams,
	} {
		v := New(mail.NewMessage([]byte("MIME-Version: 1.0\r\n"+message)), Options{})
		v.Objects()
		if !slices.Contains(v.Limits(), want) {
			t.Errorf("%.80q: %v, not %s", message, v.Limits(), want)
		}
	}
}

// A text of any length is looked through for links to its end, whatever word rules see of it.
func TestLinksBehindALongText(t *testing.T) {
	filler := map[string]string{
		"text/plain": strings.Repeat("A line of a log, one of many.\r\n", 100_000),
		"text/html":  "<img src=\"data:image/png;base64," + strings.Repeat("QUJD", 700_000) + "\">" + strings.Repeat("<p>words\r\n", 10_000),
		"text/csv":   strings.Repeat("1;2;3;https://www.example.com/\r\n", 100_000),
	}
	for kind, front := range filler {
		for _, coding := range []string{"7bit", "base64"} {
			body := front + "<a href=\"http://last.example/x\">x</a>\r\n"
			if coding == "base64" {
				body = wrap(stdbase64.StdEncoding.EncodeToString([]byte(body)))
			}
			v := New(mail.NewMessage([]byte("MIME-Version: 1.0\r\nContent-Type: "+kind+"\r\nContent-Transfer-Encoding: "+coding+"\r\n\r\n"+body)), Options{})
			if !slices.ContainsFunc(v.Links(), func(l Link) bool { return l.Host == "last.example" }) {
				t.Errorf("%s in %s: the last of %d links is not found", kind, coding, len(v.Links()))
			}
			if len(v.Limits()) > 0 || !slices.Contains(v.Cuts(), CutText) || !v.Parts()[0].Cut {
				t.Errorf("%s in %s: limits %v, cuts %v", kind, coding, v.Limits(), v.Cuts())
			}
		}
	}
}

// Text in a mainframe's code page is text, and so are the reports of machines, encoded or not.
func TestTextOfReportsAndMainframes(t *testing.T) {
	for message, want := range map[string]string{
		"Content-Type: text/plain; charset=ibm037\r\n\r\n\xc8\x85\x93\x93\x96":                                             "Hello",
		"Content-Type: text/plain; charset=cp500\r\n\r\n\xc8\x85\x93\x93\x96":                                              "Hello",
		"Content-Type: text/plain; charset=IBM01140\r\n\r\n\xc8\x85\x93\x93\x96":                                           "Hello",
		"Content-Type: text/plain; charset=ibm850\r\n\r\nM\x81ller":                                                        "Müller",
		"Content-Type: message/delivery-status\r\nContent-Transfer-Encoding: base64\r\n\r\nU3RhdHVzOiA1LjEuMQ==":           "Status: 5.1.1",
		"Content-Type: message/disposition-notification\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nStatus=3A x": "Status: x",
	} {
		v := New(mail.NewMessage([]byte("MIME-Version: 1.0\r\n"+message)), Options{})
		if got := v.Parts()[0].Text; got != want {
			t.Errorf("%q: %q", message, got)
		}
	}
}

// What is stored in OpenPGP and not encrypted is read: in a multipart/encrypted as an entity, in a text as a text or a file.
func TestOpenPGPWithoutEncryption(t *testing.T) {
	entity := "Content-Type: application/octet-stream; name=invoice.js\r\n\r\nWScript.Shell http://stored.example/\r\n"
	packet := append([]byte{0xCB, byte(len(entity) + 6), 'b', 0, 0, 0, 0, 0}, entity...)
	armored := "-----BEGIN PGP MESSAGE-----\r\n\r\n" + wrap(stdbase64.StdEncoding.EncodeToString(packet)) + "=abcd\r\n-----END PGP MESSAGE-----\r\n"
	multi := "MIME-Version: 1.0\r\nContent-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=p\r\n\r\n--p\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n--p\r\nContent-Type: application/octet-stream\r\n"
	for name, message := range map[string]string{
		"multipart":           multi + "\r\n" + armored + "--p--\r\n",
		"multipart, in QP":    multi + "Content-Transfer-Encoding: base64\r\n\r\n" + wrap(stdbase64.StdEncoding.EncodeToString([]byte(armored))) + "--p--\r\n",
		"multipart in binary": multi + "\r\n" + string(packet) + "\r\n--p--\r\n",
		"inline":              "MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nhello\r\n" + armored,
		"a file":              "MIME-Version: 1.0\r\nContent-Type: application/octet-stream; name=a.pgp\r\n\r\n" + string(packet),
	} {
		v := New(mail.NewMessage([]byte(message)), Options{})
		if !slices.ContainsFunc(v.Objects(), func(o *Object) bool { return slices.Contains(o.Names, "invoice.js") }) {
			t.Errorf("%s: the file in it is not found", name)
		}
		for _, a := range v.Ambiguities() {
			if a.Grave() {
				t.Errorf("%s: %+v", name, a)
			}
		}
		if slices.ContainsFunc(v.Parts(), func(p *Part) bool { return p.Encrypted }) {
			t.Errorf("%s is called encrypted", name)
		}
	}
}
