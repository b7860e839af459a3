package mask_test

import (
	"testing"

	"postern/internal/mail"
	"postern/proxy/mask"
)

// A Watch lets through of a header what every reader takes for one, however the pieces fall.
func TestWatch(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "",
		"A: 1\r\nB: 2\r\n\tfolded\r\n\r\n": "A: 1\r\nB: 2\r\n\tfolded\r\n\r\n",
		"A: 1\r\nB":                        "A: 1\r\nB",
		"A: 1\nB: 2\n\n":                   "A: 1\nB: 2\n\n",
		"A: 1\r\nno field\r\nB: 2\r\n":     "A: 1\r\n",
		"A: 1\r\n \r\nEVIL: 2\r\n":         "A: 1\r\n",
		"A: 1\r\n\r\nEVIL: 2\r\n":          "A: 1\r\n\r\n",
		"A: 1\n\nEVIL: 2\r\n":              "A: 1\n\n",
		"A: 1\r\rEVIL: 2\r\n":              "A: 1\r\r",
		" EVIL\r\n":                        "",
		"A: 1\r\n: EVIL\r\n":               "A: 1\r\n",
	} {
		var w mask.Watch
		if n := w.End([]byte(text)); text[:n] != want {
			t.Errorf("%q: %q passes, want %q", text, text[:n], want)
		}
		var slow mask.Watch
		passed := ""
		for i := range len(text) {
			passed += text[i : i+slow.End([]byte(text[i:i+1]))]
		}
		// of the first line that is none, only what looked like the name of a field
		if len(passed) < len(want) || passed[:len(want)] != want || len(passed) > len(want)+2 {
			t.Errorf("%q octet by octet: %q passes, want %q", text, passed, want)
		}
	}
}

// What a Watch lets through ends where a plan begins to overwrite, or before.
func FuzzWatch(f *testing.F) {
	f.Add("A: 1\r\n b\r\n\r\nbody")
	f.Add("A: 1\r\nbody without a header's end")
	f.Add("\r\n\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		text += "\r\n" // of a line that goes on nobody knows what it is
		var w mask.Watch
		if n, end := w.End([]byte(text)), mask.HeaderEnd(mail.NewMessage([]byte(text))); int64(n) > end {
			t.Fatalf("%q: %d octets pass, the plan overwrites from %d", text, n, end)
		}
	})
}
