package brands

import (
	"slices"
	"strings"

	"postern/filters"
	"postern/internal/mail/ascii"
	"postern/internal/mimeview/confusable"
)

// Claim is a brand that a text names.
type Claim struct {
	Brand int
	// Name is how it is spelled in the table, Common says that it is other things as well. At is the first word, Words how
	// many there are.
	Name      string
	Common    bool
	At, Words int
}

// Find gives the brands that are named in a text of these words, and the words.
func (t *Table) Find(text string) (claims []Claim, words []string) {
	words = Words(text)
	for i := 0; i < len(words); i++ {
		if c, ok := t.at(words, i); ok {
			claims = append(claims, c)
			i += c.Words - 1
		}
	}
	if !ascii.Is(text) && strings.ContainsFunc(text, unspaced) {
		folded := strings.ToLower(confusable.Fold(text))
		for _, s := range t.inside {
			if strings.Contains(folded, s.words[0]) {
				claims = append(claims, Claim{Brand: s.brand, Name: t.Brands[s.brand].Names[0], At: -1})
			}
		}
	}

	return claims, words
}

// at is the longest name that begins with a word.
func (t *Table) at(words []string, i int) (Claim, bool) {
	list, ok := t.first[words[i]]
	if !ok && hasDigit(words[i]) {
		if list, ok = t.first[letters(words[i])]; !ok {
			list = t.first[digitsAs(words[i], lettersWithI)]
		}
	}
	for _, s := range list {
		if i+len(s.words) > len(words) {
			continue
		}
		same := true
		for j := 1; j < len(s.words); j++ {
			same = same && (words[i+j] == s.words[j] || letters(words[i+j]) == s.words[j])
		}
		if same {
			return Claim{Brand: s.brand, Name: t.Brands[s.brand].Names[0], Common: s.common, At: i, Words: len(s.words)}, true
		}
	}

	return Claim{}, false
}

// letters reads digits within a word as the letters that they look like: "paypa1" is "paypal". A word of digits stays.
func letters(word string) string { return digitsAs(word, "oleas") }

// lettersWithI are letters for 0, 1, 3, 4 and 5, with an i for 1.
const lettersWithI = "oieas"

// digitsAs reads the digits 0, 1, 3, 4 and 5 as these letters; "1" is l or i.
func digitsAs(word, as string) string {
	if !hasDigit(word) || !strings.ContainsAny(word, "01345") || strings.Trim(word, "0123456789") == "" {
		return word
	}

	return strings.Map(func(r rune) rune {
		if i := strings.IndexRune("01345", r); i >= 0 {
			return rune(as[i])
		}

		return r
	}, word)
}

func hasDigit(word string) bool {
	for i := range len(word) {
		if ascii.IsDigit(word[i]) {
			return true
		}
	}

	return false
}

// Speaks says whether a name that is shown with an address speaks for the brand that it names: a common name does only if
// all other words are of service.
func (c Claim) Speaks(words []string) bool {
	if !c.Common {
		return true
	}
	for i, w := range words {
		if (i < c.At || i >= c.At+c.Words) && !isService(w) {
			return false
		}
	}

	return true
}

// serviceWords stand beside a company's name where it writes as a company.
const serviceWords = ` support service services team account accounts security alert alerts notification notifications notice billing payment payments
 invoice customer customers care center centre help desk helpdesk online secure verification verify info information update updates no reply noreply
 do not message messages mail email admin administrator department delivery tracking express order orders shop store official inc llc ltd gmbh
 corp corporation group international global the of and for via rewards prime plus premium business id user users member membership fraud protection
 kundenservice kundendienst kundencenter sicherheit sicherheitsteam konto mitteilung benachrichtigung rechnung zahlung lieferung paket zustellung ihr ihre die
 de client clients clientele assistance securite compte equipe facture livraison votre le la les du des suivi colis
 atencion al cliente seguridad cuenta equipo soporte factura envio su el servicio
 servizio clienti sicurezza assistenza avviso cliente area il tuo spedizione pacco
 klantenservice beveiliging melding uw bestelling obsluga klienta bezpieczenstwo powiadomienie musteri hizmetleri guvenlik destek bildirim
 suporte seguranca conta aviso atendimento служба поддержки безопасность поддержка уведомление us uk com app web portal bank banking card cards
 login signin access desk office docs file files sign signature document documents share sharing voicemail fax password reset `

func isService(word string) bool {
	return filters.HasWord(serviceWords, word) || strings.Trim(word, "0123456789") == ""
}

// cuesBefore and cuesAfter are the words beside a brand's name where a text speaks for it.
const (
	cuesBefore = ` copyright your dear valued ihr ihre ihrem ihren dein deinem votre vos tu su tus il tuo suo uw je jouw twoje twoj panstwa sua seu din ditt ваш ваша вашего
 thank using choosing official choose `
	cuesAfter = ` account accounts konto kontos team support security customer customers service billing id subscription membership member
 kunde kunden kundenservice sicherheit compte client service cuenta cliente account conta cliente rekening klant konto klient hesabi hesabiniz musteri
 inc llc gmbh corporation user users mailbox wallet card karte `
)

// SpeaksIn says whether a text speaks for the brand where it names it: "your PayPal account", "the PayPal team", "© PayPal".
func (c Claim) SpeaksIn(words []string) bool {
	if c.Common || c.At < 0 {
		return false
	}
	before := words[max(0, c.At-2):c.At]
	after := words[min(len(words), c.At+c.Words):min(len(words), c.At+c.Words+1)]
	hasBefore := slices.ContainsFunc(before, func(w string) bool { return filters.HasWord(cuesBefore, w) || year(w) })
	hasAfter := slices.ContainsFunc(after, func(w string) bool { return filters.HasWord(cuesAfter, w) })

	return hasBefore && hasAfter || slices.Contains(before, "copyright") || slices.Contains(after, "team")
}

func year(w string) bool { return len(w) == 4 && w[:2] == "20" && strings.Trim(w, "0123456789") == "" }
