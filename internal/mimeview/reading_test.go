package mimeview

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"postern/internal/mail"
)

// The cases in testdata/reading/text.txt: "case WHAT" begins one, "text", "html", "message" or "subject" is what comes in,
// and the other words are what is wanted of it: the text (of a subject), fold, visible, hidden, invisible (how many
// characters), part (the text of some part), url (some link). White space counts as one space. Escapes are Go's.
func TestReadingCases(t *testing.T) {
	raw, err := os.ReadFile("testdata/reading/text.txt")
	if err != nil {
		t.Fatal(err)
	}
	for block := range strings.SplitSeq(string(raw), "\n\n") {
		lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(block), "\n"), func(l string) bool { return strings.HasPrefix(l, "#") })
		name, ok := strings.CutPrefix(strings.Join(lines[:min(1, len(lines))], ""), "case ")
		if !ok {
			continue
		}
		t.Run(name, func(t *testing.T) { readingCase(t, lines[1:]) })
	}
}

func readingCase(t *testing.T, lines []string) {
	var v *View
	for i, line := range lines {
		word, rest, _ := strings.Cut(line, " ")
		rest = unquote(t, rest)
		if i == 0 {
			v = viewOf(word, rest)
			continue
		}
		part := &Part{}
		if all := v.Parts(); len(all) > 0 {
			part = all[0]
		}
		got := ""
		switch word {
		case "text":
			got = v.Subject()
		case "fold":
			got = Fold(part.Text)
		case "visible":
			got = part.Text
		case "hidden":
			got = part.Hidden
		case "invisible":
			got = fmt.Sprint(part.Invisible())
		case "part":
			if !slices.ContainsFunc(v.Parts(), func(p *Part) bool { return oneLine(p.Text) == rest }) {
				t.Errorf("no part %q but %q", rest, texts(v))
			}
			continue
		case "url":
			if !slices.Contains(v.URLs(), rest) {
				t.Errorf("no link %q but %q", rest, v.URLs())
			}
			continue
		default:
			t.Fatal(line)
		}
		if got = oneLine(got); got != rest {
			t.Errorf("%s is %q, want %q", word, got, rest)
		}
		if word == "visible" && !strings.Contains(strings.Join(lines, "\n"), "\nhidden ") && part.Hidden != "" {
			t.Errorf("%q is hidden", part.Hidden)
		}
	}
}

func viewOf(kind, content string) *View {
	switch kind {
	case "text":
		content = "Content-Type: text/plain; charset=utf-8\r\n\r\n" + content
	case "html":
		content = "Content-Type: text/html; charset=utf-8\r\n\r\n" + content
	case "subject":
		content = "Subject: " + strings.ReplaceAll(content, "?= =?", "?=\r\n =?") + "\r\n\r\n"
	}
	return New(mail.NewMessage([]byte(content)), Options{})
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func unquote(t *testing.T, text string) string {
	text = strings.ReplaceAll(text, `\0`, `\x00`)
	plain, err := strconv.Unquote(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return plain
}
