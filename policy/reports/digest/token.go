package digest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"postern/internal/mail"
)

// Action is what a link is for.
type Action byte

// The actions. List shows all that is held, Appeal asks for a message that was refused.
const (
	Release Action = iota + 1
	ReleaseAndAllow
	Delete
	Block
	List
	Appeal
)

// String names the action.
func (a Action) String() string {
	names := [...]string{Release: "release", ReleaseAndAllow: "release and allow", Delete: "delete", Block: "block", List: "list", Appeal: "appeal"}
	if a < Release || int(a) >= len(names) {
		return "none"
	}
	return names[a]
}

// Claim is a link's content: user, act, message and expiry.
type Claim struct {
	Action Action
	// User is the digest's recipient, who acts. Mailbox is the owner of the copy; they differ for a deputy.
	User, Mailbox mail.Address
	// Item is the id of the held message, "" for List.
	Item    string
	Expires time.Time
}

// ErrToken says that a link doesn't hold. Whether it is forged or expired is for the log only: see Signer.Open.
var ErrToken = errors.New("this link does not hold, or not any more")

// refusal is ErrToken to all but slog.
type refusal struct{ why string }

// Error tells no more than that the link doesn't hold.
func (r refusal) Error() string        { return ErrToken.Error() }
func (r refusal) Is(target error) bool { return target == ErrToken }

// LogValue tells the log why.
func (r refusal) LogValue() slog.Value { return slog.StringValue(r.why) }

// Signer makes and reads the tokens in links.
type Signer struct{ keys [][]byte }

const (
	tokenVersion = 1
	keySize      = 32  // octets, at least
	maxToken     = 900 // octets of base64
	maxName      = 254 // octets of an address: RFC 5321 section 4.5.3.1.3
)

// NewSigner makes a Signer. The first key signs, all of them are believed, so that keys can be changed. Each has at least
// 32 octets.
func NewSigner(keys ...[]byte) (*Signer, error) {
	if len(keys) == 0 {
		return nil, errors.New("digest: no key to sign links with")
	}
	s := &Signer{}
	for _, k := range keys {
		if len(k) < keySize {
			return nil, fmt.Errorf("digest: a key has %d octets, it must have %d", len(k), keySize)
		}
		// what else is made of the same key must not pass for a token
		h := hmac.New(sha256.New, k)
		_, _ = h.Write([]byte("postern digest links 1")) // a hash takes all
		s.keys = append(s.keys, h.Sum(nil))
	}
	return s, nil
}

func keyID(key []byte) []byte {
	sum := sha256.Sum256(key)
	return sum[:4]
}

func seal(key, text []byte) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write(text) // a hash takes all
	return h.Sum(nil)
}

// Sign makes a token: about 130 characters that are valid in a path.
func (s *Signer) Sign(c Claim) (string, error) {
	user, mailbox := c.User.Key(), c.Mailbox.Key()
	if c.Action < Release || c.Action > Appeal || len(user) > maxName || len(mailbox) > maxName || c.Item != "" && !mail.ValidID(c.Item) || c.User.IsNull() || c.Mailbox.IsNull() {
		return "", fmt.Errorf("digest: no link can say this: %s of %.80q", c.Action, c.Item)
	}
	text := append([]byte{tokenVersion}, keyID(s.keys[0])...)
	text = binary.BigEndian.AppendUint64(text, uint64(c.Expires.Unix()))
	text = append(text, byte(c.Action))
	if mailbox == user {
		mailbox = "" // and the token shorter
	}
	for _, name := range []string{user, mailbox, c.Item} {
		text = append(append(text, byte(len(name))), name...)
	}
	return base64.RawURLEncoding.EncodeToString(append(text, seal(s.keys[0], text)...)), nil
}

// Open reads a token. Every error is ErrToken and looks the same to the caller; slog shows the reason.
func (s *Signer) Open(token string, now time.Time) (Claim, error) {
	text, err := s.verified(token)
	if err != nil {
		return Claim{}, err
	}

	c := Claim{Expires: time.Unix(int64(binary.BigEndian.Uint64(text[5:])), 0).UTC(), Action: Action(text[13])}
	names, rest := [3]string{}, text[14:]
	for i := range names {
		if len(rest) == 0 || len(rest) < 1+int(rest[0]) {
			return Claim{}, refusal{"signed, but cut off"}
		}
		names[i], rest = string(rest[1:1+int(rest[0])]), rest[1+int(rest[0]):]
	}
	c.User, err = mail.ParseAddress(names[0])
	if err != nil {
		return Claim{}, refusal{"signed, but of no address"}
	}
	c.Mailbox, c.Item = c.User, names[2]
	if names[1] != "" {
		if c.Mailbox, err = mail.ParseAddress(names[1]); err != nil {
			return Claim{}, refusal{"signed, but for no address"}
		}
	}
	if !now.Before(c.Expires) {
		return Claim{}, refusal{"expired " + c.Expires.Format(time.RFC3339)}
	}

	return c, nil
}

// verified gives what a token says if one of our keys has signed it.
func (s *Signer) verified(token string) ([]byte, error) {
	if len(token) > maxToken {
		return nil, refusal{"too long"}
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) < 1+4+8+1+3+sha256.Size || raw[0] != tokenVersion {
		return nil, refusal{"not a token"}
	}

	text, given := raw[:len(raw)-sha256.Size], raw[len(raw)-sha256.Size:]
	genuine := false
	for _, k := range s.keys {
		// all of them, whatever the token says of its key: the time tells nothing
		genuine = hmac.Equal(seal(k, text), given) && string(keyID(k)) == string(text[1:5]) || genuine
	}
	if !genuine {
		return nil, refusal{"forged, or signed with a key that is gone"}
	}

	return text, nil
}
