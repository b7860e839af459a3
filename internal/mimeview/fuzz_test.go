package mimeview

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/emersion/go-message"
	"github.com/jhillyerd/enmime/v2"

	"postern/internal/mail"
)

func seed(f *testing.F) {
	f.Add([]byte("Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: text/html; charset=koi8-r\r\nContent-Transfer-Encoding: base64\r\n\r\nPGEgaHJlZj0i\r\n--a--\r\n"))
	f.Add([]byte("Content-Type: message/rfc822\r\n\r\nContent-Type: message/rfc822\r\n\r\nSubject: =?utf-8?q?=?=\r\n\r\nhttp://x www.y\r\n"))
	f.Add([]byte("Content-Type: application/ms-tnef\r\n\r\n" + tnefSignature + "aa\x02\x0f\x80\x06\x00\x04\x00\x00\x00abcd\x00\x00"))
	f.Add([]byte("\r\n\r\n(This file must be converted with BinHex 4.0)\r\n\r\n:#(4Z!!!!:\r\n"))
	for i, c := range readCases(f) {
		for j, m := range c.expand(eicar()) {
			if j == i%3 {
				f.Add([]byte(m))
			}
		}
	}
}

// Whatever comes in, nothing panics, and each object opens and is as long as it says.
func FuzzView(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		v := New(mail.NewMessage(raw), Options{})
		v.Parts()
		v.Subject()
		v.Ambiguities()
		var sum int64
		for _, o := range v.Objects() {
			sum += o.Size
			r, err := o.Open()
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, r)
			if err != nil || n != o.Size {
				t.Fatalf("%d octets of %d, %v: %s", n, o.Size, err, o.Reading)
			}
			_ = r.Close()
			if head, err := o.Head(10); err != nil || int64(len(head)) != min(10, o.Size) {
				t.Fatalf("head of %d octets, %v", len(head), err)
			}
		}
		if err := errors.Join(v.Err(), v.Close()); err != nil {
			t.Fatal(err)
		}
		if sum > 33*int64(len(raw))+64<<20 {
			t.Fatalf("%d octets of %d", sum, len(raw))
		}
	})
}

// fenced says whether the libraries can be trusted to come back: enmime needs exponential time for nested multiparts
// that are not closed, and takes any part with a boundary for a multipart.
func fenced(v *View) bool {
	for _, a := range v.Ambiguities() {
		switch a.Kind {
		case DelimiterMissing, BoundaryOnLeaf, BoundaryMissing, BoundaryWrong, BoundaryEmpty, BoundaryClash, BoundaryOdd, TwiceBoundary:
			return false
		}
	}
	for _, l := range v.Limits() {
		if l != LimitText {
			return false
		}
	}
	ok := true
	var deep func(p *Part, depth int)
	deep = func(p *Part, depth int) {
		ok = ok && depth <= 10 && (isMultipart(p.Type) || p.Params["boundary"] == "")
		for _, inner := range p.Parts {
			deep(inner, depth+1)
		}
	}
	deep(v.Root(), 0)
	return ok
}

type leaf struct {
	kind    string
	content []byte
	coded   string
}

func withEnmime(raw []byte) (all []leaf) {
	parser := enmime.NewParser(enmime.DisableTextConversion(true), enmime.DisableCharacterDetection(true))
	root, err := parser.ReadParts(bytes.NewReader(raw))
	if err != nil {
		return nil
	}
	root.DepthMatchAll(func(p *enmime.Part) bool {
		if p.FirstChild == nil && len(p.Content) > 0 {
			all = append(all, leaf{p.ContentType, p.Content, p.Header.Get("Content-Transfer-Encoding")})
		}
		return false
	})
	return all
}

func withGoMessage(raw []byte) (all []leaf) {
	e, err := message.Read(bytes.NewReader(raw))
	if e == nil || err != nil {
		return nil
	}
	_ = e.Walk(func(_ []int, e *message.Entity, err error) error {
		if err != nil || e == nil {
			return err
		}
		kind, _, _ := e.Header.ContentType()
		if e.MultipartReader() != nil {
			return nil
		}
		content, err := io.ReadAll(io.LimitReader(e.Body, 1<<20))
		if err == nil && len(content) > 0 {
			all = append(all, leaf{kind, content, e.Header.Get("Content-Transfer-Encoding")})
		}
		return nil
	})
	return all
}

// What a library takes out of a message is among our objects, or the message is gravely ambiguous.
func FuzzAgainstLibraries(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 64<<10 {
			return
		}
		v := New(mail.NewMessage(raw), Options{})
		defer v.Close()
		if !fenced(v) {
			return
		}
		for _, a := range v.Ambiguities() {
			if a.Grave() {
				return
			}
		}
		var ours [][]byte
		for _, o := range v.Objects() {
			content, err := o.Head(int(o.Size))
			if err != nil {
				t.Fatal(err)
			}
			ours = append(ours, lastLineOff(content))
		}
		compare := func(library string, leaves []leaf) {
			for _, l := range leaves {
				if strings.HasPrefix(l.kind, "text/") && !isASCII(l.content) {
					continue // its charset was converted
				}
				if frontOf(lastLineOff(l.content), ours) {
					continue // it ends at a boundary in the middle of a line, or at one with more behind it; ours goes on
				}
				if !among(lastLineOff(l.content), ours) {
					t.Fatalf("%s finds %s %q, not among our %d objects: %q; ambiguities %v", library, l.kind, l.content, len(ours), ours, v.Ambiguities())
				}
			}
		}
		compare("enmime", withEnmime(raw))
		compare("go-message", withGoMessage(raw))
	})
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// lastLineOff takes line ends off the end, and reads CRLF as LF: the libraries differ in both.
func lastLineOff(b []byte) []byte {
	return bytes.TrimRight(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), "\r\n")
}

func among(one []byte, all [][]byte) bool {
	if len(one) == 0 {
		return true
	}
	for _, other := range all {
		if bytes.Equal(one, other) {
			return true
		}
	}
	return false
}

// frontOf says whether one of all begins with it and goes on with what could be a delimiter in the
// middle of a line, of which enmime takes an octet or two before it for a line end, or a
// line that only begins like one, with which go-message ends a part.
func frontOf(one []byte, all [][]byte) bool {
	for _, other := range all {
		if rest, ok := bytes.CutPrefix(other, one); ok && bytes.Contains(rest[:min(len(rest), 4)], []byte("--")) {
			return true
		}
	}
	return false
}
