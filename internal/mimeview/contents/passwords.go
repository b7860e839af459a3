package contents

import (
	"slices"
	"strings"
	"unicode"

	"postern/internal/mimeview"
)

const (
	maxPasswords    = 20
	maxPasswordText = 64 << 10 // octets of text that are looked at
	nearPassword    = 160      // octets behind the word
)

// passwordWords announce a password, in lower case. Longer ones first where one begins with another.
var passwordWords = []string{
	"password", "passwort", "passwd", "passcode", "passphrase", "kennwort", "mot de passe", "contraseña", "contrasena", "clave", "senha",
	"wachtwoord", "lösenord", "adgangskode", "salasana", "hasło", "heslo", "jelszó", "parola", "пароль", "密码", "密碼", "パスワード", "암호",
	"pass:", "pass =", "pwd", "pw:", "pw ", "pin:", "pin ", "code:", "code ",
}

// archiveWords: a word with a digit close to them may be the password, too.
var archiveWords = []string{"archiv", ".zip", " zip", ".rar", " rar", ".7z", "encrypted", "verschlüsselt", "chiffr", "cifrad"}

// fillers stand between the announcement and the password.
var fillers = []string{
	"is", "was", "for", "to", "the", "of", "this", "that", "file", "archive", "zip", "attachment", "attached", "document", "open", "opening", "it", "you", "your", "use",
	"ist", "lautet", "für", "das", "die", "den", "der", "zum", "zur", "öffnen", "datei", "archiv", "est", "pour", "le", "la", "du", "de", "el", "es", "para",
	"del", "archivo", "o", "é", "è", "per", "il", "and", "und", "et", "y", "=", "-", ":", "–", "->", "a", "an", "in", "on", "will", "be",
}

// passwords gives candidates that the mail's own text holds, the most likely first.
func passwords(v *mimeview.View) []string {
	text := v.Subject()
	for _, p := range v.Parts() {
		if len(text) >= maxPasswordText {
			break
		}
		text += "\n" + p.Text[:min(len(p.Text), maxPasswordText-len(text))]
	}
	text = strings.ToValidUTF8(text, " ")
	var found candidates
	// the first word behind each announcement, then the second of each, ...
	behind := wordsBehind(text, passwordWords)
	for n := range 4 {
		for _, words := range behind {
			if n < len(words) {
				found.add(words[n])
			}
		}
	}
	for _, words := range wordsBehind(text, archiveWords) {
		for _, w := range words {
			if strings.ContainsFunc(w, unicode.IsDigit) {
				found.add(w)
			}
		}
	}
	found.add("infected") // what those who send samples to each other use
	return found.list
}

type candidates struct{ list []string }

func (c *candidates) add(word string) {
	for _, one := range []string{strings.Trim(word, "\"'`“”„‚‘’«»<>()[]{}*_.,;:!?"), strings.Trim(word, "\"'`“”„«»"), word} {
		if one != "" && len(one) <= 64 && len(c.list) < maxPasswords && !slices.Contains(c.list, one) {
			c.list = append(c.list, one)
		}
	}
}

// wordsBehind gives for each place where one of the words stands what follows it, without fillers.
func wordsBehind(text string, announcements []string) (all [][]string) {
	low := strings.ToLower(text)
	if len(low) != len(text) { // a letter whose lower case has another length: the places would differ
		text = low
	}
	for _, a := range announcements {
		for at := 0; len(all) < maxPasswords; {
			i := strings.Index(low[at:], a)
			if i < 0 {
				break
			}
			at += i + len(a)
			rest := strings.ToValidUTF8(text[at:min(len(text), at+nearPassword)], "")
			all = append(all, wordsOf(rest))
		}
	}
	return all
}

func wordsOf(rest string) (words []string) {
	for _, w := range strings.Fields(rest) {
		w = strings.TrimLeft(w, ":=：")
		if w == "" || slices.Contains(fillers, strings.ToLower(strings.Trim(w, ":=,."))) {
			continue
		}
		if words = append(words, w); len(words) == 8 {
			break
		}
	}
	return words
}
