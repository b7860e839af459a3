package digest

import (
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"postern/internal/mail/encodedword"
)

//go:embed texts/*.json
var textFiles embed.FS

//go:embed page.html
var pageFile string

// texts are the texts of one language, by key.
type texts map[string]string

// keys are those that each language has.
func keys() []string {
	return []string{"date", "subject.one", "subject.other", "greeting", "deputy", "hint", "from", "subject", "received", "why", "no.subject", "no.sender",
		"category.spam", "category.virus", "category.attachment", "category.policy", "release", "release_and_allow", "delete", "block", "list",
		"more.one", "more.other", "footer"}
}

// loadTexts reads all languages. A key that is missing, or one too many, is an error.
func loadTexts() (map[string]texts, error) {
	files, err := textFiles.ReadDir("texts")
	if err != nil {
		return nil, err
	}
	all := map[string]texts{}
	for _, f := range files {
		raw, err := textFiles.ReadFile(path.Join("texts", f.Name()))
		if err != nil {
			return nil, err
		}
		var t texts
		if err := json.Unmarshal(raw, &t); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		for _, key := range keys() {
			if t[key] == "" {
				return nil, fmt.Errorf("%s: %q is missing", f.Name(), key)
			}
		}
		for key := range t {
			if !slices.Contains(keys(), key) {
				return nil, fmt.Errorf("%s: nobody asks for %q", f.Name(), key)
			}
		}
		all[strings.TrimSuffix(f.Name(), ".json")] = t
	}
	return all, nil
}

func loadPage() (*template.Template, error) { return template.New("digest").Parse(pageFile) }

// with replaces "{name}" in a text by values, which are not expanded again.
func (t texts) with(key string, values ...string) string {
	var pairs []string
	for i := 0; i+1 < len(values); i += 2 {
		pairs = append(pairs, "{"+values[i]+"}", values[i+1])
	}
	return strings.NewReplacer(pairs...).Replace(t[key])
}

func (t texts) count(key string, n int, values ...string) string {
	if n == 1 {
		return t.with(key+".one", values...)
	}
	return t.with(key+".other", append(values, "n", strconv.Itoa(n))...)
}

// maxShown bounds what is shown of a text that a stranger wrote, in characters; maxRead what is read of it, in octets.
const (
	maxShown = 120
	maxRead  = 2000
)

// shown makes a stranger's text safe to display: encoded words decoded (RFC 2047), on one line, short, without
// characters that are not seen or that change the direction of the text behind them.
func shown(text string) string {
	text = text[:min(len(text), maxRead)]
	text = encodedword.Decode(text)
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == unicode.ReplacementChar, unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp):
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "�"))
	text = strings.Join(strings.Fields(text), " ")
	if letters := []rune(text); len(letters) > maxShown {
		text = strings.TrimSpace(string(letters[:maxShown])) + "…"
	}
	return text
}
