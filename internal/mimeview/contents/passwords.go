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
	"palavra-passe", "palavra passe", "código", "codice", "mot-de-passe", "sleutel", "kod:", "код:", "ключ:", "解压码", "提取码", "口令", "暗証番号", "parole",
	"pass:", "pass =", "pwd", "pw:", "pw ", "pin:", "pin ", "code:", "code ",
	// what is done with it
	"unlock with", "unlocks with", "open with", "opens with", "open it with", "unzip with", "extract with", "decrypt with", "protected with", "öffnen mit", "entsperren mit", "entpacken mit", "geschützt mit",
	"ouvrir avec", "déverrouiller avec", "protégé par", "abrir con", "desbloquear con", "abrir com", "desbloquear com", "aprire con", "sbloccare con",
	"openen met", "ontgrendelen met", "otworzyć za pomocą", "odblokować za pomocą", "открыть с помощью",
}

// archiveWords: a word with a digit close to them may be the password, too.
var archiveWords = []string{"archiv", ".zip", " zip", ".rar", " rar", ".7z", "encrypted", "verschlüsselt", "chiffr", "cifrad"}

// fillers stand between the announcement and the password.
var fillers = []string{
	"is", "was", "for", "to", "the", "of", "this", "that", "file", "archive", "zip", "attachment", "attached", "document", "open", "opening", "it", "you", "your", "use",
	"ist", "lautet", "für", "das", "die", "den", "der", "zum", "zur", "öffnen", "datei", "archiv", "est", "pour", "le", "la", "du", "de", "el", "es", "para",
	"wird", "zip-datei", "anhang", "fichier", "code", "pin", "key", "arquivo", "do", "da", "dell", "dell'archivo", "allegato", "aprire", "abrir", "ouvrir", "het", "een", "voor", "van", "bestand", "te", "openen",
	"jest", "brzmi", "pliku", "archiwum", "załącznika", "к", "от", "для", "архиву", "архива", "файлу", "файла", "это", "—", "с", "помощью", "following", "below", "as", "follows", "wie", "folgt",
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
	nth := func(n int) {
		for _, words := range behind {
			if n < len(words) {
				found.add(words[n])
			}
		}
	}
	for _, word := range wordsBefore(text, passwordWords) { // "1234 is the password": rare, and then it is meant
		found.add(word)
	}
	for n := range 4 {
		nth(n)
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
		fits := one != "" && len(one) <= 64
		if fits && len(c.list) < maxPasswords && !slices.Contains(c.list, one) {
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

// copulas join a password that stands first with the word that says so.
var copulas = []string{"is", "was", "=", "-", "–", "—", "ist", "lautet", "est", "es", "é", "è", "jest", "to", "это", "是", "为", "eh"}

// wordsBefore gives what stands in front of an announcement with a copula between, as in "1234 is the password".
func wordsBefore(text string, announcements []string) (all []string) {
	low := strings.ToLower(text)
	if len(low) != len(text) {
		text = low
	}
	for _, a := range announcements {
		for at := 0; len(all) < maxBefore; {
			i := strings.Index(low[at:], a)
			if i < 0 {
				break
			}
			words := strings.Fields(strings.ToValidUTF8(text[max(0, at+i-nearBefore):at+i], ""))
			at += i + len(a)
			joined := false
			for n := len(words) - 1; n >= 0 && n >= len(words)-4; n-- {
				word := strings.ToLower(words[n])
				if slices.Contains(copulas, word) {
					joined = true
				} else if !slices.Contains(fillers, word) {
					if joined {
						all = append(all, words[n])
					}
					break
				}
			}
		}
	}
	return all
}

const (
	nearBefore = 60 // octets in front of the word
	maxBefore  = 4
)

// narrowDigit makes a full-width character of ASCII a plain one.
func narrowDigit(r rune) rune {
	if r >= 0xff01 && r <= 0xff5e {
		return r - 0xff01 + '!'
	}
	return r
}

func wordsOf(rest string) (words []string) {
	for _, w := range strings.Fields(rest) {
		w = strings.TrimRight(strings.TrimLeft(w, ":=：是为為はが、，→"), "。，、！")
		w = strings.Map(narrowDigit, strings.TrimSuffix(w, "です"))
		if w == "" || slices.Contains(fillers, strings.ToLower(strings.Trim(w, ":=,."))) {
			continue
		}
		if words = append(words, w); len(words) == 8 {
			break
		}
	}
	return words
}
