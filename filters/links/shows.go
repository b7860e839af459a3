package links

import (
	"fmt"
	"strings"
	"unicode"

	"postern/internal/mail/ascii"
	"postern/internal/mimeview"
	"postern/internal/mimeview/confusable"
)

// What a message shows and hides.
const (
	// leastSalt is how many hidden words between the shown ones are more than the mark of a ticket system.
	leastSalt = 8
	// longPreheader is how many letters stand beside a subject in any list of mail.
	longPreheader = 400
	// fewWords is how many words beside a linked picture are no text of its own, hardly how many there are beside a link.
	fewWords = 40
	hardly   = 5
	// cutWords is how many words are cut by characters that can't be seen before it is no slip of an editor.
	cutWords = 3
	maxWords = 20000
)

// shows judges the texts of a message.
func (l *look) shows(view *mimeview.View) {
	b := body{}
	for _, p := range view.Parts() {
		if p.PasswordForm {
			l.add("HTML_PASSWORD_FORM", p.Name)
		}
		if p.Reading != "" || p.Attachment {
			continue
		}
		if what := salt(p); what != "" {
			l.add("HIDDEN_SALT", what)
		}
		if what := invisible(p.Text); what != "" {
			l.add("INVISIBLE_CHARS", what)
		}
		b.add(p)
	}
	if b.links = b.count(view.Links(), l); b.links == nil {
		return
	}
	if b.pictures > 0 && b.words < fewWords {
		l.add("PICTURE_LINKED", fmt.Sprintf("%d, with %d words, %s", b.pictures, b.words, b.links.Host))
	}
	if b.words-b.addresses <= hardly && b.pictures == 0 && !b.other {
		l.add("LINK_ONLY", fmt.Sprintf("%d words, %s", b.words, b.links.Host))
	}
}

// body is what a message shows in all.
type body struct {
	words     int  // of the part that has most
	addresses int  // of them that are addresses
	pictures  int  // within links
	other     bool // there are attachments or text of other kinds, so that the link is not all
	html      bool
	links     *mimeview.Link // the first that leads elsewhere
}

func (b *body) add(p *mimeview.Part) {
	switch p.Type {
	case "text/html":
		if !b.html { // what it shows is what counts, not the plain text beside it
			b.words, b.addresses, b.html = 0, 0, true
		}
	case "text/plain":
		if b.html {
			return
		}
	default:
		b.other = b.other || p.Type == "text/calendar"
		return
	}
	words, addresses := countWords(p.Text, fewWords)
	b.words, b.addresses, b.pictures = b.words+words, b.addresses+addresses, b.pictures+p.Linked
}

// count gives the first link that leads to a stranger.
func (b *body) count(all []mimeview.Link, l *look) *mimeview.Link {
	for i := range all {
		if clickable(&all[i]) && !l.own(all[i].Host, all[i].Domain) {
			return &all[i]
		}
	}
	return nil
}

// countWords counts words up to some more than enough, and those of them that are addresses. Scripts that don't part words
// have two letters for each.
func countWords(text string, enough int) (words, addresses int) {
	for w := range strings.FieldsSeq(text) {
		if words > 2*enough {
			return words, addresses
		}
		letters, unspaced := 0, 0
		for _, r := range w {
			switch {
			case r < 0x2e80 && (unicode.IsLetter(r) || unicode.IsDigit(r)):
				letters++
			case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai):
				unspaced++
			case r >= 0x2e80 && unicode.IsLetter(r):
				letters++
			}
		}
		words += (unspaced + 1) / 2
		if letters > 0 {
			words++
			if strings.Contains(w, "://") || strings.Contains(w, "www.") {
				addresses++
			}
		}
	}
	return words, addresses
}

// salt says what is hidden between the words that are shown, or is too much for the line that stands beside a subject. What
// repeats the words that are shown, as pages for small screens do, is none.
func salt(p *mimeview.Part) string {
	if len(p.Hidden) == 0 {
		return ""
	}
	between := p.Hidden[p.Preheader:]
	if mimeview.Letters(p.Hidden[:p.Preheader]) > longPreheader {
		between = p.Hidden
	}
	if len(between) < 2*leastSalt || mimeview.Letters(p.Text) == 0 {
		return ""
	}
	hidden := wordsOf(between)
	if len(hidden) < leastSalt {
		return ""
	}
	shown := map[string]bool{}
	for _, w := range wordsOf(p.Text) {
		shown[w] = true
	}
	foreign := 0
	for _, w := range hidden {
		if !shown[w] {
			foreign++
		}
	}
	if foreign < leastSalt || 2*foreign < len(hidden) {
		return ""
	}
	return fmt.Sprintf("%d words, %s", len(hidden), strings.Join(hidden[:min(len(hidden), 20)], " "))
}

// wordsOf are the words of a text in lower case, without addresses and what stands in braces or brackets, as programs have.
func wordsOf(text string) (all []string) {
	for w := range strings.FieldsSeq(text) {
		if strings.Contains(w, "://") || strings.ContainsAny(w, "{}<>=@[]_") || len(all) == maxWords {
			continue
		}
		w = strings.ToLower(strings.TrimFunc(w, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }))
		if len(w) > 1 {
			all = append(all, w)
		}
	}
	return all
}

// invisible says which words are cut by characters that can't be seen. Soft hyphens in places where a word may be parted are
// honest, and so are joiners in scripts that need them, and chains of such characters between words.
func invisible(text string) string {
	if ascii.Is(text) || strings.IndexFunc(text, confusable.Invisible) < 0 {
		return ""
	}
	n, first := 0, ""
	for w := range strings.FieldsSeq(text) {
		if !isCut(w) {
			continue
		}
		if n++; first == "" {
			first = w
		}
	}
	if n < cutWords {
		return ""
	}
	return fmt.Sprintf("%d words, such as %q", n, confusable.Fold(first[:min(len(first), 80)]))
}

// isCut says whether a word of letters that need no joiners has such characters between two letters: a soft hyphen, only if
// what stands before it is a single letter.
func isCut(word string) bool {
	run, after := 0, rune(0) // letters in a row, and what stands behind them
	for _, r := range word {
		switch {
		case confusable.Invisible(r):
			after = r
		case alphabetic(r):
			if cuts := after != '\u00ad' || run == 1; after != 0 && run > 0 && cuts {
				return true
			}
			if after != 0 {
				run = 0
			}
			run, after = run+1, 0
		default:
			run, after = 0, 0
		}
	}
	return false
}

// alphabetic holds for letters of scripts whose words need nothing between their letters.
func alphabetic(r rune) bool {
	return unicode.In(r, unicode.Latin, unicode.Cyrillic, unicode.Greek)
}
