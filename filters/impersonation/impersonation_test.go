package impersonation

import (
	"strings"
	"testing"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/testing/filtertest"
)

func TestCases(t *testing.T) { filtertest.Run(t, Spec) }

func FuzzInspect(f *testing.F) { filtertest.Fuzz(f, Spec) }

func TestWrongSettingsAreRefused(t *testing.T) {
	for key, value := range map[string]string{"protected_names": "ada@corp.example", "protected_domains": "not a domain"} {
		_, err := Spec.New(config.NewSection("filters.impersonation", map[string]any{key: []any{value}}), filters.Env{})
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// One edit, in either direction, is symmetric; none and two are not one.
func TestOneEdit(t *testing.T) {
	for pair, want := range map[string]bool{"abc abc": false, "abc abd": true, "abc ab": true, "abc bc": true, "abc acb": true,
		"abc bca": false, "abc a": false, "abcd badc": false, "a ": true} {
		a, b, _ := strings.Cut(pair, " ")
		if oneEdit([]rune(a), []rune(b)) != want || oneEdit([]rune(b), []rune(a)) != want {
			t.Errorf("%s: want %v", pair, want)
		}
	}
}

func FuzzSkeleton(f *testing.F) {
	f.Add("раураl.com", "paypal.com")
	l := newLookalikes()
	f.Fuzz(func(t *testing.T, a, b string) {
		k, _ := l.compare(a, b)
		if same, _ := l.compare(a, a); same != apart || k != apart && a == b {
			t.Errorf("%q is like itself", a)
		}
		l.words(a)
		l.homograph(a)
		invisible(a)
		comments(a)
	})
}
