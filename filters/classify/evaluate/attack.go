package evaluate

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"

	"postern/internal/mail"
)

// Attack is a way to put honest text into spam, so that a classifier takes it for honest (Lowd and Meek 2005).
type Attack int

// The attacks. Each rebuilds the message: its header, and its text as text/plain.
const (
	NoWords   Attack = iota // only rebuilt
	Words100                // 100 honest words behind the text
	Words500                // 500 of them
	Appended                // an honest text behind it
	Prepended               // an honest text before it
	Attacks
)

// String says what an attack does.
func (a Attack) String() string {
	switch a {
	case Words100:
		return "100 honest words appended"
	case Words500:
		return "500 honest words appended"
	case Appended:
		return "an honest letter appended"
	case Prepended:
		return "an honest letter prepended"
	default:
		return "rebuilt as plain text"
	}
}

// Bounds of what an attacker knows.
const (
	// goodWords is how many words it draws from: those that honest mail has most often in comparison with spam.
	goodWords = 1000
	// minTexts is in how many honest texts a word has to be.
	minTexts = 5
	// minLetter is how long an honest text has to be that is put into spam, in octets.
	minLetter = 200
)

// Attacker knows honest mail.
type Attacker struct {
	words   []string
	letters []string
}

// NewAttacker learns from the texts of honest mail and of spam. The order of texts decides what it does.
func NewAttacker(ham, spam []string) *Attacker {
	inHam, inSpam := texts(ham), texts(spam)
	a := &Attacker{}
	for word, n := range inHam {
		if n >= minTexts {
			a.words = append(a.words, word)
		}
	}
	share := func(word string) float64 {
		return float64(inHam[word]) / float64(1+inSpam[word]) * float64(1+len(spam)) / float64(1+len(ham))
	}
	slices.SortFunc(a.words, func(x, y string) int { return cmp.Or(cmp.Compare(share(y), share(x)), cmp.Compare(x, y)) })
	a.words = a.words[:min(len(a.words), goodWords)]
	for _, text := range ham {
		if len(text) >= minLetter {
			a.letters = append(a.letters, text)
		}
	}

	return a
}

// texts counts in how many texts each word stands.
func texts(all []string) map[string]int {
	n := map[string]int{}
	for _, text := range all {
		words := strings.Fields(strings.ToLower(text))
		slices.Sort(words)
		for _, w := range slices.Compact(words) {
			n[w]++
		}
	}

	return n
}

// Alter gives a message with the header and the text of another one, and with honest text in it. The seed decides which.
func (a *Attacker) Alter(h *mail.Header, text string, how Attack, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, uint64(how)))
	switch how {
	case Words100:
		text += "\n\n" + a.draw(r, 100)
	case Words500:
		text += "\n\n" + a.draw(r, 500)
	case Appended:
		text += "\n\n" + a.letter(r)
	case Prepended:
		text = a.letter(r) + "\n\n" + text
	default: // nothing is added
	}
	var raw []byte
	for _, f := range h.Fields {
		if name := strings.ToLower(f.Name); name != "mime-version" && !strings.HasPrefix(name, "content-") {
			raw = append(raw, f.Raw...)
		}
	}
	raw = append(raw, "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"...)

	return append(raw, strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")...)
}

func (a *Attacker) draw(r *rand.Rand, n int) string {
	var b strings.Builder
	for i := range n {
		if len(a.words) == 0 {
			break
		}
		b.WriteString(a.words[r.IntN(len(a.words))])
		b.WriteByte(" \n"[(i+1)%12/11])
	}

	return b.String()
}

func (a *Attacker) letter(r *rand.Rand) string {
	if len(a.letters) == 0 {
		return ""
	}

	return a.letters[r.IntN(len(a.letters))]
}
