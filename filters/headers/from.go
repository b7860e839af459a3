package headers

import (
	"errors"
	"fmt"
	"strings"

	"postern/internal/mail"
)

// from judges the From fields: RFC 5322 section 3.6.2.
func (f filter) from(r *report, tx *mail.Transaction) {
	fields := tx.Message.Header().All("From")

	switch {
	case len(fields) == 0:
		r.add("MISSING_FROM", "")
		return
	case len(fields) > 1:
		r.add("MULTIPLE_FROM", fmt.Sprintf("%d fields", len(fields)))
		return
	}

	value := fields[0].Value()
	if what := hidden(value); what != "" {
		r.add("FROM_CONTROL", what)
		return
	}

	author, err := mail.ReadAuthor(value)
	f.form(r, tx, value, author, err)

	for _, b := range author.Mailboxes {
		f.name(r, b)
	}
}

// form says what is wrong with how a From field is written.
func (f filter) form(r *report, tx *mail.Transaction, value string, author mail.Author, err error) {
	switch {
	case errors.Is(err, mail.ErrFromNoAddress) && answersByItself(tx, value):
		r.addWeighed("FROM_NO_ADDRESS", value, 0.25)
	case errors.Is(err, mail.ErrFromNoAddress) && tx.From.IsNull():
		r.add("FROM_NO_ADDRESS", value)
	case err != nil:
		r.add("FROM_INVALID", value+": "+err.Error())
	case author.Group:
		r.add("FROM_GROUP", value)
	case len(author.Mailboxes) > 1:
		r.add("FROM_SEVERAL", value)
	case author.Odd != "":
		r.add("FROM_SLOPPY", value+": "+author.Odd)
	}

	for _, b := range author.Mailboxes {
		if domain := b.Address.ASCIIDomain(); domain != "" && domain[0] != '[' && !strings.Contains(domain, ".") {
			r.add("FROM_UNQUALIFIED", b.Address.String())
			return
		}
	}
}

// answersByItself says whether a program answers here that speaks for nobody and says so: a report (RFC 6522), an automatic
// answer (RFC 3834 section 5), or a bounce of the old kind, from the null reverse-path (RFC 5321 section 4.5.5).
func answersByItself(tx *mail.Transaction, from string) bool {
	h := tx.Message.Header()
	auto, _, _ := strings.Cut(strings.ToLower(h.Get("Auto-Submitted")), ";")
	kind, _, _ := strings.Cut(strings.ToLower(h.Get("Content-Type")), ";")

	daemon := strings.Contains(strings.ToLower(from), "mailer-daemon") || strings.Contains(strings.ToLower(from), "postmaster")

	return strings.HasPrefix(strings.TrimSpace(auto), "auto-") || strings.TrimSpace(kind) == "multipart/report" || daemon && tx.From.IsNull()
}

// hidden names a character that has no place in a From field.
func hidden(value string) string {
	for i, c := range value {
		switch {
		case c < ' ' && c != '\t', c == 0x7f:
			return fmt.Sprintf("control character 0x%02x at %d", c, i)
		// the marks that turn the reading direction: UAX 9
		case c >= 0x202a && c <= 0x202e, c >= 0x2066 && c <= 0x2069:
			return fmt.Sprintf("direction mark U+%04X at %d", c, i)
		}
	}
	return ""
}

// name looks at a display name that is itself an address, however it is encoded.
func (f filter) name(r *report, b mail.Mailbox) {
	if hidden(b.Name) != "" {
		r.add("FROM_CONTROL", "in the display name")
		return
	}

	evidence := b.Name + " is " + b.Address.String()
	var other bool

	for _, shown := range mail.AddressesIn(b.Name[:min(len(b.Name), maxName)]) {
		domain := shown.ASCIIDomain()

		switch {
		case domain == b.Address.ASCIIDomain() || !strings.Contains(domain, "."):
		case f.env.Local != nil && f.env.Local(domain):
			r.add("SPOOF_DISPLAY_NAME", evidence)
			return
		case b.Commented: // FROM_COMMENT_ADDRESS counts it
		default:
			other = true
		}
	}

	if other {
		r.add("FROM_NEQ_DISPLAY_NAME", evidence)
	}
}

// maxName is how much of a name is looked at, in octets: no reader shows more.
const maxName = 2000
