// Package seal lets the doors of one gateway know each other's work: the SMTP door puts a field over each message that
// it let through, and whoever fetches that message from its mailbox knows by it that its octets were judged, when, and
// by which policy and rules.
package seal

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"postern/internal/mail"
)

// Name is the name of the field.
const Name = "X-Postern-Seal"

// maxField is the longest field that is read, in octets; minKey the shortest key that seals.
const (
	maxField = 1024
	minKey   = 16
)

// The versions of the field: what was judged good, and what was let in whatever was found.
const (
	plainVersion = "1"
	letInVersion = "2"
)

// Seal is what a valid field says.
type Seal struct {
	// ID names the transaction in which the message was judged.
	ID string
	At time.Time
	// LetIn says that the message was let in whatever the filters found: by an entry of a list, or by a release. That holds
	// however old the seal is.
	LetIn bool
	// epoch is that of the judgement, as Epoch writes it.
	epoch string
	sum   [sha256.Size]byte
}

// Sum is the hash of the octets below the field.
func (s Seal) Sum() [sha256.Size]byte { return s.sum }

// Epoch says whether the message was judged in this epoch: by the policy and the rules that it stands for.
func (s Seal) Epoch(epoch string) bool { return s.epoch == token(epoch) }

// Field makes the field for a message: sum is the hash of all octets that will stand below it, id and epoch say where
// and by what they were judged. It gives nothing if the key is shorter than 16 octets or the id is none.
func Field(key []byte, id, epoch string, at time.Time, sum [sha256.Size]byte) []byte {
	return write(key, Seal{ID: id, At: at, epoch: token(epoch), sum: sum})
}

// LetIn makes the field for a message that an admin or its recipient let in, as Field does.
func LetIn(key []byte, id, epoch string, at time.Time, sum [sha256.Size]byte) []byte {
	return write(key, Seal{ID: id, At: at, LetIn: true, epoch: token(epoch), sum: sum})
}

func write(key []byte, s Seal) []byte {
	if len(key) < minKey || !mail.ValidID(s.ID) || s.At.Unix() < 0 {
		return nil
	}
	signed := s.signed()
	front, hash, _ := strings.Cut(signed, " h=")
	return fmt.Appendf(nil, "%s: %s\r\n\th=%s;\r\n\ts=%s\r\n", Name, front, hash, encode(s.mac(key)))
}

// signed is the text under the HMAC.
func (s Seal) signed() string {
	version := plainVersion
	if s.LetIn {
		version = letInVersion
	}
	return fmt.Sprintf("v=%s; i=%s; t=%d; e=%s; h=%s", version, s.ID, s.At.Unix(), s.epoch, encode(s.sum[:]))
}

// RFC 2104.
func (s Seal) mac(key []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(s.signed()))
	return h.Sum(nil)
}

func encode(octets []byte) string { return base64.StdEncoding.EncodeToString(octets) }

// token is an epoch as it can stand in the field.
func token(epoch string) string {
	plain := epoch != "" && len(epoch) <= 64 && strings.IndexFunc(epoch, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || strings.ContainsRune("._-+/", r))
	}) < 0
	if plain {
		return epoch
	}
	sum := sha256.Sum256([]byte(epoch))
	return "~" + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// Open gives the seal of a message if it holds: its field is the first of its name, all octets below it are those that
// were sealed, and above it stand only fields that servers put on top of a message and that no reader shows or goes by.
// The age and the epoch are the caller's to look at.
func Open(key []byte, m *mail.Message) (Seal, bool) {
	if len(key) < minKey {
		return Seal{}, false
	}
	field, ok := topmost(m.Header())
	if !ok || len(field.Raw) > maxField {
		return Seal{}, false
	}
	s, mac, ok := parse(field.Value())
	if !ok || !hmac.Equal(mac, s.mac(key)) {
		return Seal{}, false
	}
	below := int64(field.Offset + len(field.Raw))
	h := sha256.New()
	n, err := io.Copy(h, io.NewSectionReader(m, below, m.Size()-below))
	if err != nil || n != m.Size()-below || !hmac.Equal(h.Sum(nil), s.sum[:]) {
		return Seal{}, false
	}
	return s, true
}

// topmost finds the seal's field, if nothing stands above it that could change what a reader sees: no line that is not
// read as a field, no field but those of trace.
func topmost(h *mail.Header) (mail.Field, bool) {
	at := 0
	for _, f := range h.Fields {
		if f.Offset != at || !clean(f.Raw) { // a line before it is no field
			return mail.Field{}, false
		}
		if f.Is(Name) {
			return f, true
		}
		if !trace(f.Name) {
			return mail.Field{}, false
		}
		at += len(f.Raw)
	}
	return mail.Field{}, false
}

// clean says whether all readers see one field in these octets: RFC 5322 section 2.2.
func clean(raw []byte) bool {
	h := mail.ParseHeader(append(bytes.Clone(raw), "\r\n"...))
	if len(h.Defects) > 0 || len(h.Fields) != 1 || !bytes.HasSuffix(raw, []byte("\r\n")) {
		return false
	}
	return bytes.Count(raw, []byte("\r\n")) == bytes.Count(raw, []byte("\n")) && bytes.Count(raw, []byte("\r")) == bytes.Count(raw, []byte("\n"))
}

// trace says whether a field is one that a server puts on top: RFC 5321 section 4.4, RFC 8601, RFC 8617, RFC 6376, RFC
// 7208 section 9.1, and extension fields.
func trace(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "return-path", "received", "delivered-to", "x-original-to", "envelope-to", "authentication-results", "received-spf", "dkim-signature":
		return true
	}
	return strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "arc-")
}

// isEpoch says whether a text is an epoch as Field writes it: in full, or as "~" and a hash.
func isEpoch(text string) bool { return text == token(text) || strings.HasPrefix(text, "~") }

// split cuts a field's value into the values of its six tags.
func split(value string) (tags []string, ok bool) {
	for i, part := range strings.SplitN(value, ";", 7) {
		tag, found := strings.CutPrefix(strings.TrimLeft(part, " \t"), []string{"v=", "i=", "t=", "e=", "h=", "s=", "="}[i])
		if !found {
			return nil, false
		}
		tags = append(tags, tag)
	}
	return tags, len(tags) == 6
}

// parse reads a field's value. All six tags must be there, in their order, written as Field writes them.
func parse(value string) (s Seal, mac []byte, ok bool) {
	tags, whole := split(value)
	if !whole || !mail.ValidID(tags[1]) {
		return Seal{}, nil, false
	}
	knownVersion := tags[0] == plainVersion || tags[0] == letInVersion
	if !knownVersion || !isEpoch(tags[3]) {
		return Seal{}, nil, false
	}
	seconds, err := strconv.ParseUint(tags[2], 10, 40)
	if err != nil || strconv.FormatUint(seconds, 10) != tags[2] {
		return Seal{}, nil, false
	}
	sum, ok := decode(tags[4])
	mac, ok2 := decode(tags[5])
	if !ok || !ok2 {
		return Seal{}, nil, false
	}
	return Seal{ID: tags[1], At: time.Unix(int64(seconds), 0), LetIn: tags[0] == letInVersion, epoch: tags[3], sum: [sha256.Size]byte(sum)}, mac, true
}

func decode(text string) ([]byte, bool) {
	octets, err := base64.StdEncoding.Strict().DecodeString(text)
	return octets, err == nil && len(octets) == sha256.Size
}
