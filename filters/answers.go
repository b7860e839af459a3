package filters

import (
	"slices"
	"strings"

	"postern/internal/mail"
)

// AnswersNothing says whether a message has the subject of an answer and names no message that it answers. The subject is
// that of the message, decoded.
func AnswersNothing(m *mail.Message, subject string) bool {
	h := m.Header()
	// RFC 5322 section 3.6.4: an answer names what it answers.
	return isAnswer(subject) && h.Get("In-Reply-To") == "" && h.Get("References") == ""
}

// isAnswer says whether a subject begins as that of an answer does, in the languages of common mail programs.
func isAnswer(subject string) bool {
	prefix, _, ok := strings.Cut(strings.ReplaceAll(strings.ToLower(strings.TrimSpace(subject)), "：", ":"), ":")
	if !ok {
		return false
	}
	prefix, _, _ = strings.Cut(strings.TrimSpace(prefix), "[")

	return slices.Contains([]string{"re", "aw", "sv", "antw", "odp", "res", "rv", "ynt", "vs", "rif", "r", "回复", "回覆", "答复", "ha", "отв", "پاسخ", "رد"}, prefix)
}
