package rules

import "testing"

// A rule sees a text as it is written, as a reader sees it, and by its looks.
func TestBodyRulesSeeWhatReadersSee(t *testing.T) {
	const plain, page = "Content-Type: text/plain; charset=utf-8\n\n", "Content-Type: text/html; charset=utf-8\n\n"
	for message, want := range map[string]string{
		plain + "buy viagra now\n":                              "X",
		plain + "buy v\u0456\u0430gr\u0430 now\n":               "X", // Cyrillic letters
		plain + "buy v\u200biag\u00adra now\n":                  "X",
		page + "buy v<i style='font-size:0'>xx</i>iagra\n":      "X",
		page + "buy <i style='display:none'>viagra</i> bread\n": "X", // we may be wrong about what is hidden
		page + "buy v<!-- x -->iagra\n":                         "X",
		plain + "buy vi agra\n":                                 "",
	} {
		if got := match(t, "body X /\\bviagra\\b/i\n", message); got != want {
			t.Errorf("%q: %q, want %q", message, got, want)
		}
	}
	count := "body X /bread/\ntflags X multiple\nmeta Y X == 1\n"
	if got := match(t, count, page+"<p>bread</p><p style='display:none'>x</p>\n"); got != "X Y" {
		t.Errorf("what is in both views counts once, got %q", got)
	}
}
