// Package sasl is the server's side of a SASL exchange (RFC 4422): PLAIN, LOGIN, XOAUTH2 and OAUTHBEARER. A door says how
// a challenge is put in its protocol, and what it thinks of the credentials.
package sasl

import (
	"encoding/base64"
	"errors"
	"strings"
)

// The mechanisms.
const (
	Plain       = "PLAIN"       // RFC 4616
	Login       = "LOGIN"       // draft-murchison-sasl-login: not standardised, and in wide use
	XOAuth2     = "XOAUTH2"     // Google's
	OAuthBearer = "OAUTHBEARER" // RFC 7628
)

// Errors of an exchange. After any of them the client may try again.
var (
	// ErrCancelled says that the client ended the exchange with "*".
	ErrCancelled = errors.New("the client cancelled the exchange")
	// ErrBase64 says that a response is not base64.
	ErrBase64 = errors.New("a response that is not base64")
	// ErrCredentials says that a response holds no credentials of its mechanism.
	ErrCredentials = errors.New("credentials that can't be read")
)

// Unreadable says whether the client's responses can't be understood.
func Unreadable(err error) bool {
	return errors.Is(err, ErrBase64) || errors.Is(err, ErrCredentials)
}

// Credentials are what a client proves itself with.
type Credentials struct {
	// User is the authentication identity, Authzid the authorization identity, "" for the same (RFC 4616 section 2).
	User, Authzid string
	// Password is that of PLAIN and LOGIN. Token is the whole response of XOAUTH2 and OAUTHBEARER.
	Password, Token string
}

// Exchange is one exchange.
type Exchange struct {
	// Mechanism is its name in upper case. Initial is the initial response as it came, HasInitial says whether one did.
	Mechanism, Initial string
	HasInitial         bool
	// Challenge sends a challenge, which is in base64 already, and gives the line that the client answers.
	Challenge func(challenge string) (line string, err error)
	// MaxOctets is the longest user name, authorization identity or password (0: the door's longest line).
	MaxOctets int
}

// Begin reads the arguments of the command that begins an exchange: the mechanism, and perhaps an initial response.
func Begin(args string) *Exchange {
	name, initial, has := strings.Cut(args, " ")
	return &Exchange{Mechanism: strings.ToUpper(name), Initial: initial, HasInitial: has}
}

// Credentials asks for what the mechanism needs. Errors of Challenge are given as they are.
func (x *Exchange) Credentials() (Credentials, error) {
	prompt := ""
	if x.Mechanism == Login {
		prompt = "Username:"
	}

	response, err := x.first(prompt)
	if err != nil {
		return Credentials{}, err
	}

	c := Credentials{}
	switch x.Mechanism {
	case Plain: // RFC 4616 section 2: [authzid] NUL authcid NUL passwd
		fields := strings.Split(response, "\x00")
		if len(fields) != 3 {
			return c, ErrCredentials
		}
		c.Authzid, c.User, c.Password = fields[0], fields[1], fields[2]
	case Login:
		c.User = response
		if c.Password, err = x.ask("Password:"); err != nil {
			return Credentials{}, err
		}
	default:
		c.Token, c.User = response, tokenUser(x.Mechanism, response)
	}

	if c.User == "" || !x.fits(c.User) || !x.fits(c.Authzid) || !x.fits(c.Password) {
		return Credentials{}, ErrCredentials
	}

	return c, nil
}

// first gives the client's first response: the initial one, or the answer to an initial challenge.
func (x *Exchange) first(prompt string) (string, error) {
	switch {
	case !x.HasInitial:
		return x.ask(prompt)
	case x.Initial == "=": // an empty one: RFC 4954 section 4, RFC 4959 section 3, RFC 5034 section 4
		return "", nil
	}

	return Decode(x.Initial)
}

// ask sends a challenge and reads the response. "*" ends the exchange: RFC 4954 section 4, RFC 9051 section 6.2.2, RFC 5034
// section 4.
func (x *Exchange) ask(challenge string) (string, error) {
	line, err := x.Challenge(base64.StdEncoding.EncodeToString([]byte(challenge)))
	if err != nil {
		return "", err
	}
	if line == "*" {
		return "", ErrCancelled
	}

	return Decode(line)
}

func (x *Exchange) fits(text string) bool {
	return (x.MaxOctets == 0 || len(text) <= x.MaxOctets) && plain(text)
}

// plain says whether a text can be a name or a password at all: no protocol behind us takes these octets.
func plain(text string) bool { return !strings.ContainsAny(text, "\x00\r\n") }

// Decode reads the base64 of a response. RFC 4648 section 3.5 leaves it to us whether its last, unused bits must be zero.
func Decode(text string) (string, error) {
	// encoding/base64 ignores line ends
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return "", ErrBase64
	}

	return string(b), nil
}

// tokenUser finds the user in a response of XOAUTH2, user=NAME^A…, or of OAUTHBEARER (RFC 7628 section 3.1), n,a=NAME,^A….
func tokenUser(mechanism, response string) string {
	header, _, _ := strings.Cut(response, "\x01")
	if mechanism == XOAuth2 {
		user, ok := strings.CutPrefix(header, "user=")
		if !ok {
			return ""
		}
		return user
	}

	fields := strings.Split(header, ",")
	if len(fields) != 3 {
		return ""
	}
	user, ok := strings.CutPrefix(fields[1], "a=")
	if !ok {
		return ""
	}

	// RFC 5801 section 4: saslname
	return strings.NewReplacer("=2C", ",", "=3D", "=").Replace(user)
}
