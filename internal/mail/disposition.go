package mail

import (
	"fmt"
	"strings"
)

// Disposition is what becomes of a message for one recipient, in the words of DMARC (RFC 9989) where it has them. They
// are ordered: a greater one is stricter.
type Disposition int

// The dispositions.
const (
	Accept     Disposition = iota // delivered as it is
	Tag                           // delivered, marked as spam
	Quarantine                    // held, for somebody to look at
	Defer                         // not taken now, the sender tries again: 4xx
	Reject                        // not taken: 5xx
)

func dispositions() [5]string {
	return [...]string{"accept", "tag", "quarantine", "defer", "reject"}
}

// String is the disposition's word.
func (d Disposition) String() string {
	if w := dispositions(); d >= 0 && int(d) < len(w) {
		return w[d]
	}
	return fmt.Sprintf("disposition %d", int(d))
}

// ParseDisposition reads a word.
func ParseDisposition(word string) (Disposition, error) {
	list := dispositions()
	for i, w := range list {
		if w == word {
			return Disposition(i), nil
		}
	}
	return 0, fmt.Errorf("%q is not a disposition; it must be one of %s", word, strings.Join(list[:], ", "))
}

// MarshalText writes the word, UnmarshalText reads it.
func (d Disposition) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the word.
func (d *Disposition) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDisposition(string(text))
	return err
}
