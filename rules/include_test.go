package rules

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

// A file is read where its include line stands, relative to the file, within the folder of rules and not for ever.
func TestInclude(t *testing.T) {
	folder := fstest.MapFS{
		"10.cf":            {Data: []byte("score A 1\ninclude sub/a.inc # more of them\nscore A 3\ninclude sub/b.inc\nbody LAST /x/\n")},
		"sub/a.inc":        {Data: []byte("body A /a/\nscore A 2\ninclude deeper/c.inc\n")},
		"sub/deeper/c.inc": {Data: []byte("body C /c/\ninclude ../b.inc\n")},
		"sub/b.inc":        {Data: []byte("if (0)\nbody NEVER /x/\ninclude a.inc\nendif\nbody B /b/\n")},
		"20.cf":            {Data: []byte("include ../../etc/passwd\ninclude /etc/passwd\ninclude nowhere.inc\ninclude loop.inc\nbody D /d/\n")},
		"loop.inc":         {Data: []byte("body L /l/\ninclude loop.inc\ninclude 20.cf\n")},
		"30.cf":            {Data: []byte("if (1)\ninclude open.inc\nbody E /e/\nendif\n")},
		"open.inc":         {Data: []byte("if (0)\nbody O /o/\n")},
	}
	for i := range 12 {
		folder[fmt.Sprintf("deep%d.inc", i)] = &fstest.MapFile{Data: fmt.Appendf(nil, "include deep%d.inc\nbody DEEP%d /d/\n", i+1, i)}
	}
	folder["40.cf"] = &fstest.MapFile{Data: []byte("include deep0.inc\nbody F /f/\n")}
	files, err := ReadFiles(folder)
	if err != nil {
		t.Fatal(err)
	}
	set, problems := ParseWith(Options{}, files...)
	var names []string
	for _, s := range set.Symbols() {
		names = append(names, s.Name)
		if s.Name == "A" && s.Score != 3 {
			t.Errorf("the score of A is %v: a later line counts", s.Score)
		}
	}
	got := strings.Join(names, " ")
	for _, want := range []string{"A C B LAST", "L D", "E", "DEEP0 F"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
	if strings.Contains(got, "NEVER") || strings.Contains(got, "O ") {
		t.Errorf("rules of skipped blocks: %q", got)
	}
	var said []string
	for _, p := range problems {
		said = append(said, fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Why))
	}
	text := strings.Join(said, "\n")
	for _, want := range []string{
		"20.cf:1: include: a file outside", "20.cf:2: include: a file outside", "20.cf:3: include: nowhere.inc can't be read", "loop.inc:2: include: the file includes itself",
		"loop.inc:3: include: the file includes itself", "open.inc:1: an if without endif", "include: more than 8 files",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no problem %q in\n%s", want, text)
		}
	}
}
