package model

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/mimeview"
)

// letters are made of two vocabularies that have half of their words in common.
func letter(r *rand.Rand, spam bool, more string) *mail.Message {
	var words []string
	for range 60 {
		n := r.IntN(200)
		if spam {
			n += 100
		}
		words = append(words, fmt.Sprintf("word%c%c", 'a'+n/26, 'a'+n%26))
	}

	return mail.NewMessage([]byte("From: a@b.example\r\nSubject: " + strings.Join(words[:5], " ") + "\r\n\r\n" + strings.Join(words, " ") + more + "\r\n"))
}

func lesson(r *rand.Rand, n int) *Lesson {
	spam := r.IntN(2) == 0
	v := mimeview.Of(letter(r, spam, ""))
	l := &Lesson{Spam: spam, Features: NewExtractor(Key{}).Extract(v, nil, "")}
	if !spam {
		l.Passage = NewExtractor(Key{}).Passage(v)
	}
	binary.LittleEndian.PutUint64(l.ID[:], uint64(n))

	return l
}

func TestLearnsAndForgets(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var all []*Lesson
	for n := range 400 {
		all = append(all, lesson(r, n))
	}
	whole, part, again := New(), New(), New()
	for i, l := range all {
		whole.Learn(l, nil)
		if i%3 > 0 {
			part.Learn(l, nil)
		}
	}
	for i, l := range all {
		if i%3 > 0 {
			again.Learn(l, nil)
		}
	}
	wrong := 0
	for n := range 200 {
		l := lesson(r, 1000+n)
		if whole.Score(&l.Features) > 0 != l.Spam {
			wrong++
		}
		// the same lessons in the same order give the same weights, bit by bit
		if part.Score(&l.Features) != again.Score(&l.Features) {
			t.Fatal("two models of the same lessons differ")
		}
	}
	if wrong > 4 {
		t.Errorf("%d of 200 are wrong", wrong)
	}
	if ham, spam := whole.Counts(); ham+spam != 400 {
		t.Error(ham, spam)
	}
}

// A model that is written and read learns on as if nothing had been; a damaged one is refused.
func TestWrittenAndRead(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	m := New()
	for n := range 100 {
		m.Learn(lesson(r, n), nil)
	}
	var b bytes.Buffer
	if _, err := m.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	again, err := Read(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 50 {
		l := lesson(r, 100+n)
		octets := l.Append(nil)
		read := &Lesson{ID: l.ID, Spam: l.Spam}
		if err := read.Read(octets); err != nil {
			t.Fatal(err)
		}
		if new(Lesson).Read(octets[:len(octets)-1]) == nil {
			t.Fatal("a lesson that is cut short is read")
		}
		m.Learn(l, nil)
		again.Learn(read, nil)
	}
	var one, two bytes.Buffer
	if _, err := m.WriteTo(&one); err != nil {
		t.Fatal(err)
	}
	if _, err := again.WriteTo(&two); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("they differ after the same lessons")
	}

	damaged := bytes.Clone(b.Bytes())
	damaged[len(damaged)/2] ^= 1
	for _, octets := range [][]byte{nil, damaged, b.Bytes()[:b.Len()-1], b.Bytes()[:b.Len()/2], append(bytes.Clone(b.Bytes()), 0)} {
		if _, err := Read(bytes.NewReader(octets)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d octets: %v", len(octets), err)
		}
	}
}

func FuzzReadLesson(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	f.Add(lesson(r, 1).Append(nil))
	f.Add([]byte{1, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var l Lesson
		if l.Read(b) != nil {
			return
		}
		var again Lesson
		if err := again.Read(l.Append(nil)); err != nil {
			t.Error(err)
		}
		New().Learn(&l, nil)
	})
}

// Words of honest mail behind a spam buy little once lessons with such words were learned.
func TestGoodWords(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	m := New()
	for n := range 1500 {
		m.Learn(lesson(r, n), nil)
	}
	missed := 0
	for range 100 {
		var good strings.Builder
		for range 100 {
			n := r.IntN(100)
			fmt.Fprintf(&good, " word%c%c", 'a'+n/26, 'a'+n%26)
		}
		f := NewExtractor(Key{}).Extract(mimeview.Of(letter(r, true, good.String())), nil, "")
		if m.Score(&f) < 0 {
			missed++
		}
	}
	if missed > 30 {
		t.Errorf("%d of 100 spams with good words are missed", missed)
	}
}

// Other keys give other slots: what collides here does not collide elsewhere.
func TestKey(t *testing.T) {
	v := mimeview.Of(letter(rand.New(rand.NewPCG(1, 1)), true, ""))
	a, b := NewExtractor(Key{1}).Extract(v, nil, ""), NewExtractor(Key{2}).Extract(v, nil, "")
	same := 0
	for _, s := range a[Tokens] {
		for _, o := range b[Tokens] {
			if s == o {
				same++
			}
		}
	}
	if same > len(a[Tokens])/10 {
		t.Errorf("%d of %d slots are the same", same, len(a[Tokens]))
	}
}

// What other servers concluded has no part in it.
func TestBare(t *testing.T) {
	const raw = "From: a@b.example\r\nX-Spam-Status: Yes\r\n\tvery\r\nAuthentication-Results: x; spf=pass\r\nSubject: x\r\n\r\nX-Spam-Status: body\r\n"
	if got := string(Bare([]byte(raw))); got != "From: a@b.example\r\nSubject: x\r\n\r\nX-Spam-Status: body\r\n" {
		t.Errorf("%q", got)
	}
}

func FuzzExtract(f *testing.F) {
	f.Add([]byte("From: a@b.example\r\nSubject: =?utf-8?q?x?=\r\nContent-Type: text/html\r\n\r\n<a href=\"http://x.example:80/y\">z</a>"))
	f.Add([]byte("\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		v := mimeview.Of(mail.NewMessage(raw))
		features := NewExtractor(Key{}).Extract(v, []string{"spf=pass"}, "")
		for i, slots := range features {
			for j, s := range slots {
				if s >= Slots || j > 0 && slots[j-1] >= s {
					t.Fatalf("view %d: slot %d at %d", i, s, j)
				}
			}
		}
		NewExtractor(Key{}).Passage(v)
		Bare(raw)
		_ = v.Close()
	})
}

// What is named as the strongest is what tells the two kinds apart.
func TestStrongest(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	m, x := New(), NewExtractor(Key{})
	for n := range 200 {
		m.Learn(lesson(r, n), nil)
	}
	v := mimeview.Of(mail.NewMessage([]byte("From: a@b.example\r\nSubject: x\r\n\r\nwordaa wordlh wordah wordkz wordab\r\n")))
	f := x.Extract(v, nil, "")
	spam, ham := m.Strongest(x, v, nil, &f, 2)
	if len(spam) == 0 || len(ham) == 0 || spam[0].Odds <= 0 || ham[0].Odds >= 0 {
		t.Fatalf("%v, %v", spam, ham)
	}
	if !strings.Contains("wordlh wordkz", spam[0].Text) {
		t.Errorf("%v, %v", spam, ham)
	}
}

func BenchmarkExtract(b *testing.B) {
	text := strings.Repeat("<p>Your parcel could not be delivered today because <a href=\"https://x.example/a\">nobody</a> was at home</p>\r\n", 100)
	v := mimeview.Of(mail.NewMessage([]byte("From: a@b.example\r\nSubject: x\r\nContent-Type: text/html\r\n\r\n" + text)))
	v.Parts()
	m, x := New(), NewExtractor(Key{})
	b.ReportAllocs()
	for b.Loop() {
		f := x.Extract(v, nil, "")
		m.Score(&f)
	}
}
