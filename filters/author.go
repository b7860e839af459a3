package filters

import "postern/internal/mail"

// Author is the first mailbox in From, the null address if it can't be read.
func Author(m *mail.Message) mail.Address {
	boxes, _, err := mail.ParseFrom(m.Header().Get("From"))
	if err != nil || len(boxes) == 0 {
		return mail.Address{}
	}

	return boxes[0].Address
}

// AuthorOrganization is the author's registered domain, "" if it can't be read.
func AuthorOrganization(m *mail.Message) string { return RegisteredDomain(Author(m).ASCIIDomain()) }
