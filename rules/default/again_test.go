package defaultrules

import (
	"os"
	"path/filepath"
	"testing"
)

// A reload compiles nothing that has not changed: thousands of rules take a second.
func TestWhatHasNotChangedIsNotCompiledAgain(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "local.cf"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	load := func(taken map[string]bool, before *Loaded) *Loaded {
		t.Helper()
		l, err := LoadAgain(Folders{SpamAssassin: []string{dir}}, taken, before)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}

	write("body A_WORD /word/\nscore A_WORD 1\n")
	first := load(nil, nil)
	if again := load(nil, first); again != first {
		t.Error("the same files are compiled again")
	}
	if other := load(map[string]bool{"A_WORD": true}, first); other == first {
		t.Error("a name that a filter has since taken is not seen")
	}
	write("body A_WORD /words/\nscore A_WORD 1\n")
	if other := load(nil, first); other == first {
		t.Error("a changed file is not seen")
	}
}
