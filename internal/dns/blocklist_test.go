package dns

import (
	"strings"
	"testing"
	"time"
)

func TestStartADoesNotWait(t *testing.T) {
	ex := &counting{ttl: 60, delay: 50 * time.Millisecond}
	r, err := New(Options{Exchange: ex})
	if err != nil {
		t.Fatal(err)
	}
	if list, known, _ := r.StartA(t.Context(), "2.0.0.127.bl.example"); known || list != nil {
		t.Errorf("%v before the answer came", list)
	}
	if list, err := r.LookupA(t.Context(), "2.0.0.127.bl.example"); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	if list, known, err := r.StartA(t.Context(), "2.0.0.127.bl.example"); !known || len(list) != 1 || err != nil {
		t.Errorf("%v, %v, %v when the answer is known", list, known, err)
	}
	if n := ex.n.Load(); n != 1 {
		t.Errorf("%d queries, want 1", n)
	}
	if _, known, err := r.StartA(t.Context(), "a..b"); !known || !IsNotFound(err) {
		t.Errorf("what can't be a name: %v, %v", known, err)
	}
	z := resolver(t, "a.example A 192.0.2.1\n")
	_, _ = z.LookupA(t.Context(), "none.example")
	if _, known, err := z.StartA(t.Context(), "none.example"); !known || !IsNotFound(err) {
		t.Errorf("a name that is known not to exist: %v, %v", known, err)
	}
}

// The short way to a question must be the long one.
func FuzzPlainNames(f *testing.F) {
	for _, name := range []string{"2.0.0.127.bl.example", "A.example", "a..b", ".", "a.", "", "-x", strings.Repeat("a", 64), strings.Repeat("ab.", 84) + "x", `a\.b`} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if !isPlain(name) {
			return
		}
		q, err := newQuestion(name, 1)
		if err != nil || q.name != name+"." {
			t.Errorf("%q: %q, %v", name, q.name, err)
		}
	})
}
