package classifier

import (
	"fmt"
	"slices"
	"strings"

	"postern/filters"
	"postern/internal/mail"
)

// maxOctets is how much of a message is looked at, as the journal of lessons keeps no more.
const maxOctets = 512 << 10

// copied is a message as it came to us, found in the copy that lies in a mailbox, and what we wrote on top of it.
type copied struct {
	message *mail.Message
	trace   string
	facts   []string
}

// original finds the message below the fields that we and the servers behind us wrote on top of it. A message that never
// came through this gateway is itself.
func (c *Classifier) original(m *mail.Message) (copied, error) {
	raw, err := m.Head(maxOctets)
	if err != nil {
		return copied{}, fmt.Errorf("read a message to learn from: %w", err)
	}
	fields := m.Header().Fields
	at := slices.IndexFunc(fields, func(f mail.Field) bool {
		return f.Is("Received") && strings.Contains(f.Value(), "by "+c.o.Hostname+" (Postern) with ")
	})
	if at < 0 {
		return copied{message: mail.NewMessage(raw)}, nil
	}
	ours := string(fields[at].Raw)
	first, _, _ := strings.Cut(ours, "\r\n")
	found := copied{trace: first + "\r\n"}
	for _, f := range fields[at+1:] {
		switch {
		case f.Is("Authentication-Results") && found.facts == nil && mail.ClaimsAuthservID(f.Value(), c.o.Hostname):
			if _, results, err := mail.ParseAuthResults(f.Value()); err == nil {
				found.facts = factsOf(results)
			}
			continue
		case f.Is(c.o.HeaderName), f.Is(c.o.HeaderName + "-Note"):
			continue
		}
		found.message = mail.NewMessage(raw[min(f.Offset, len(raw)):])

		return found, nil
	}
	found.message = mail.NewMessage(raw[min(int(m.BodyOffset()), len(raw)):])

	return found, nil
}

// factsOf are the results of checks as tokens: "spf=pass".
func factsOf(results []mail.AuthResult) (facts []string) {
	for _, r := range results {
		switch r.Method {
		case mail.MethodSPF, mail.MethodDKIM, mail.MethodDMARC:
			facts = append(facts, string(r.Method)+"="+string(r.Result))
		case mail.MethodAuth, mail.MethodARC: // not on all mail alike
		}
	}
	slices.Sort(facts)

	return slices.Compact(facts)
}

// judged are the same facts of a message that has just come in.
func judged(tx *mail.Transaction) (facts []string, trace string) {
	var results []mail.AuthResult
	for _, f := range tx.AllFindings() {
		if r, ok := f.Value.(mail.AuthResulter); ok {
			results = append(results, r.AuthResults()...)
		}
	}
	if s := tx.Session; s != nil && s.Client.IsValid() {
		trace = s.TraceFrom()
	}

	return factsOf(results), trace
}

// event makes the lesson of a message.
func (c *Classifier) lesson(m *mail.Message, spam bool) (found lessonOf, err error) {
	o, err := c.original(m)
	if err != nil {
		return lessonOf{}, err
	}
	view := viewOf(o.message)
	found.Features = c.extractor.Extract(view, o.facts, o.trace)
	if !spam {
		found.Passage = c.extractor.Passage(view)
	}
	found.sketch = found.Features.Sketch()

	return found, view.Close()
}

var _ filters.Classifier = (*Classifier)(nil)
