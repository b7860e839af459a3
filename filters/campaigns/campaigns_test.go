package campaigns

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"strings"
	"testing"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/internal/testing/filtertest"
)

func TestCases(t *testing.T) { filtertest.Run(t, Spec) }

func FuzzInspect(f *testing.F) { filtertest.Fuzz(f, Spec) }

func TestBadSettingsAreExplained(t *testing.T) {
	for want, values := range map[string]map[string]any{"half_life": {"half_life": "1m"}, "least": {"least": 0}, "networks": {"networks": 0}, "reports": {"reports": 0}} {
		_, err := Spec.New(config.NewSection("filters.campaigns", values), filters.Env{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q in it", values, err, want)
		}
	}
}

// A text with a few words changed is of the campaign, another text of the same words is not.
func TestAlike(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 200)
	for i := range words {
		words[i] = fmt.Sprintf("w%s", strings.Repeat(string(rune('a'+r.IntN(26))), 1+r.IntN(6))+string(rune('a'+r.IntN(26))))
	}
	first := of(t, words)
	found, false1 := 0, 0
	for range 100 {
		changed := append([]string(nil), words...)
		for range 4 {
			changed[r.IntN(len(changed))] = "another"
		}
		s := of(t, changed)
		if s.alike(first.bytes()) && shares(&s, &first) {
			found++
		}
		r.Shuffle(len(changed), func(i, j int) { changed[i], changed[j] = changed[j], changed[i] })
		s = of(t, changed)
		if s.alike(first.bytes()) {
			false1++
		}
	}
	if found < 90 || false1 > 0 {
		t.Errorf("%d of 100 similar texts are found, %d of 100 others", found, false1)
	}
}

func shares(a, b *sketch) bool {
	for i := range bands {
		if a.band(i) == b.band(i) {
			return true
		}
	}

	return false
}

func of(t *testing.T, words []string) sketch {
	t.Helper()
	v := mimeview.Of(mail.NewMessage([]byte("Subject: x\r\n\r\n" + strings.Join(words, " ") + "\r\n")))
	s, ok := sketchOf(v)
	if !ok {
		t.Fatal("no sketch")
	}

	return s
}

// A picture keeps its hash when it is scaled and packed otherwise; another one has another.
func TestPictures(t *testing.T) {
	scene := func(seed uint64, side int) image.Image {
		m := image.NewGray(image.Rect(0, 0, side, side))
		r := rand.New(rand.NewPCG(seed, 1))
		var cells [6][6]uint8
		for i := range cells {
			for j := range cells[i] {
				cells[i][j] = uint8(r.IntN(256))
			}
		}
		for y := range side {
			for x := range side {
				m.SetGray(x, y, color.Gray{Y: cells[y*6/side][x*6/side]})
			}
		}

		return m
	}
	a, b, other := differences(scene(1, 300)), differences(scene(1, 600)), differences(scene(2, 300))
	if a != b || a == other {
		t.Errorf("%x %x %x", a, b, other)
	}
	var packed bytes.Buffer
	if err := jpeg.Encode(&packed, scene(1, 300), nil); err != nil {
		t.Fatal(err)
	}
	again, err := jpeg.Decode(&packed)
	if err != nil {
		t.Fatal(err)
	}
	if c := differences(again); c != a {
		t.Errorf("as JPEG %x, not %x", c, a)
	}
}

func BenchmarkFingerprints(b *testing.B) {
	text := strings.Repeat("<tr><td style=\"color:#333\">Your parcel could not be delivered today because nobody was at home</td></tr>\r\n", 100)
	raw := []byte("Subject: x\r\nContent-Type: text/html\r\n\r\n<table>" + text + "</table>")
	v := mail.NewMessage(raw)
	mimeview.Of(v).Parts()
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		view := mimeview.Of(v)
		sketchOf(view)
		structure(view)
	}
}
