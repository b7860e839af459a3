package filters

import "testing"

// Words at the ends of lines are words of the list, parts of words are none.
func TestHasWord(t *testing.T) {
	const list = ` payment payments
 invoice orders `
	for word, want := range map[string]bool{"payment": true, "payments": true, "invoice": true, "orders": true, "order": false, "pay": false, "ments": false, "": false} {
		if HasWord(list, word) != want {
			t.Errorf("%q: %v", word, !want)
		}
	}
}
