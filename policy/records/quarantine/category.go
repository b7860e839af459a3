package quarantine

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"

	"postern/policy"
)

// Category is why a message is held, as its recipient sees it. It decides who may release it, and for how long it is kept.
type Category string

// The categories. AnyCategory is none of them: it lists all, rejected mail too.
const (
	Spam        Category = "spam"
	Virus       Category = "virus"
	Attachment  Category = "attachment"
	Policy      Category = "policy"
	Rejected    Category = "rejected" // refused, and kept for a short time lest the refusal was wrong
	AnyCategory Category = "all"
)

// Categorize draws the category from the reasons: the most dangerous that any of them speaks of. A reason that counts
// for nothing, or against holding, speaks of nothing. Without a reason it was policy's own will.
func Categorize(reasons []policy.Reason) Category {
	virus, attachment, spam := false, false, false
	for _, r := range reasons {
		forced := r.Score == 0 && strings.HasPrefix(r.Symbol, "CLAM_VIRUS") // a virus is held by its action, without a score
		if r.Score <= 0 && !forced {
			continue
		}
		switch {
		case strings.HasPrefix(r.Symbol, "CLAM_VIRUS"), strings.HasSuffix(r.Symbol, "_VIRUS"), strings.Contains(r.Symbol, "_VIRUS_"):
			virus = true
		case strings.HasPrefix(r.Symbol, "ATTACHMENT_"), r.Symbol == "HTML_SMUGGLING":
			attachment = true
		default:
			spam = true
		}
	}
	switch {
	case virus:
		return Virus
	case attachment:
		return Attachment
	case spam:
		return Spam
	}
	return Policy
}

// maxCampaignText bounds each text that a campaign's key is made of, in octets.
const maxCampaignText = 1000

// CampaignKey is what mails of one campaign share: a subject without its numbers, answers' prefixes and punctuation, the
// author's domain, the domain of the first link, the hash of the attachment. It has 32 hexadecimal digits; "" if there is
// nothing to tell mails apart by.
func CampaignKey(subject, senderDomain, linkDomain, attachmentHash string) string {
	parts := []string{normalSubject(subject), strings.ToLower(senderDomain), strings.ToLower(linkDomain), strings.ToLower(attachmentHash)}
	if strings.Join(parts, "") == "" {
		return ""
	}
	sum := sha256.New()
	for _, p := range parts {
		p = p[:min(len(p), maxCampaignText)]
		_, _ = sum.Write(append([]byte(p), 0)) // a hash takes all
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// normalSubject keeps letters only, in lower case; a run of anything else is one space, and so are words with digits,
// which differ from mail to mail.
func normalSubject(subject string) string {
	subject = strings.ToLower(subject[:min(len(subject), maxCampaignText)])
	var words []string
	for word := range strings.FieldsFuncSeq(subject, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) }) {
		if !strings.ContainsFunc(word, unicode.IsDigit) {
			words = append(words, word)
		}
	}
	for len(words) > 1 && isAnswer(words[0]) {
		words = words[1:]
	}
	return strings.Join(words, " ")
}

// isAnswer recognises the subject prefixes of replies and forwards.
func isAnswer(word string) bool {
	switch word {
	case "re", "fw", "fwd", "aw", "wg", "sv", "tr", "rv", "vs":
		return true
	}
	return false
}
