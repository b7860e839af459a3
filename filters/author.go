package filters

import "postern/internal/mail"

// AuthorOrganization is the registered domain of the first mailbox in From, "" if it can't be read.
func AuthorOrganization(m *mail.Message) string {
	boxes, _, err := mail.ParseFrom(m.Header().Get("From"))
	if err != nil || len(boxes) == 0 {
		return ""
	}

	return RegisteredDomain(boxes[0].Address.ASCIIDomain())
}
