package sasl_test

import (
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"

	"postern/proxy/sasl"
)

func b64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// run has an exchange with a client that answers challenges with these lines.
func run(args string, lines ...string) (c sasl.Credentials, challenges []string, err error) {
	x := sasl.Begin(args)
	x.MaxOctets = 1024
	x.Challenge = func(challenge string) (string, error) {
		text, err := base64.StdEncoding.DecodeString(challenge)
		if err != nil || len(lines) == 0 {
			return "", io.EOF
		}
		challenges = append(challenges, string(text))
		line := lines[0]
		lines = lines[1:]
		return line, nil
	}
	c, err = x.Credentials()
	return c, challenges, err
}

func TestExchanges(t *testing.T) {
	bob := sasl.Credentials{User: "bob", Password: "secret"}
	token := "user=bob\x01auth=Bearer abc\x01\x01"
	bearer := "n,a=bo=2Cb=3D@a.example,\x01host=x\x01auth=Bearer abc\x01\x01"
	long := strings.Repeat("x", 1025)
	for _, c := range []struct {
		args       string
		lines      []string
		want       sasl.Credentials
		challenges string
		err        error
	}{
		{"plain " + b64("\x00bob\x00secret"), nil, bob, "", nil},
		{"PLAIN", []string{b64("\x00bob\x00secret")}, bob, "", nil},
		{"PLAIN " + b64("carol\x00bob\x00secret"), nil, sasl.Credentials{User: "bob", Authzid: "carol", Password: "secret"}, "", nil},
		{"LOGIN", []string{b64("bob"), b64("secret")}, bob, "Username:|Password:", nil},
		{"LOGIN " + b64("bob"), []string{b64("secret")}, bob, "Password:", nil},
		{"LOGIN " + b64("bob"), []string{""}, sasl.Credentials{User: "bob"}, "Password:", nil},
		{"XOAUTH2 " + b64(token), nil, sasl.Credentials{User: "bob", Token: token}, "", nil},
		{"OAUTHBEARER " + b64(bearer), nil, sasl.Credentials{User: "bo,b=@a.example", Token: bearer}, "", nil},

		{"PLAIN", []string{"*"}, sasl.Credentials{}, "", sasl.ErrCancelled},
		{"LOGIN", []string{b64("bob"), "*"}, sasl.Credentials{}, "Username:|Password:", sasl.ErrCancelled},
		{"PLAIN *", nil, sasl.Credentials{}, "", sasl.ErrBase64},
		{"PLAIN =" + b64("\x00bob\x00secret"), nil, sasl.Credentials{}, "", sasl.ErrBase64},
		{"LOGIN", []string{"Ym9i\r"}, sasl.Credentials{}, "Username:", sasl.ErrBase64},
		{"LOGIN", []string{"Ym9i", "c2VjcmV0!"}, sasl.Credentials{}, "Username:|Password:", sasl.ErrBase64},
		{"PLAIN =", nil, sasl.Credentials{}, "", sasl.ErrCredentials},
		{"PLAIN " + b64("bob\x00secret"), nil, sasl.Credentials{}, "", sasl.ErrCredentials},
		{"PLAIN " + b64("\x00bob\x00secret\x00x"), nil, sasl.Credentials{}, "", sasl.ErrCredentials},
		{"PLAIN " + b64("\x00bob\x00a\r\nb"), nil, sasl.Credentials{}, "", sasl.ErrCredentials},
		{"PLAIN " + b64("\x00"+long+"\x00secret"), nil, sasl.Credentials{}, "", sasl.ErrCredentials},
		{"XOAUTH2 " + b64("bob\x01auth=x\x01\x01"), nil, sasl.Credentials{}, "", sasl.ErrCredentials},
		{"OAUTHBEARER " + b64("n,bob,\x01auth=x\x01\x01"), nil, sasl.Credentials{}, "", sasl.ErrCredentials},
		{"OAUTHBEARER " + b64("n,,\x01auth=x\x01\x01"), nil, sasl.Credentials{}, "", sasl.ErrCredentials},
		{"OAUTHBEARER " + b64("n\x01auth=x\x01\x01"), nil, sasl.Credentials{}, "", sasl.ErrCredentials},
		{"PLAIN", nil, sasl.Credentials{}, "", io.EOF},
	} {
		got, challenges, err := run(c.args, c.lines...)
		if got != c.want || !errors.Is(err, c.err) || strings.Join(challenges, "|") != c.challenges {
			t.Errorf("%q %q: %+v %q %v, want %+v %q %v", c.args, c.lines, got, challenges, err, c.want, c.challenges, c.err)
		}
	}
}

// FuzzExchange: what is taken for credentials can be written to a server behind us, whatever a client says.
func FuzzExchange(f *testing.F) {
	for _, seed := range [][3]string{
		{"PLAIN AGJvYgBzZWNyZXQ=", "", ""}, {"PLAIN", "AGJvYgBzZWNyZXQ=", ""}, {"LOGIN", "Ym9i", "c2VjcmV0"}, {"LOGIN Ym9i", "*", ""}, {"PLAIN =", "", ""},
		{"XOAUTH2 dXNlcj1ib2IBYXV0aD1CZWFyZXIgeAEB", "", ""}, {"OAUTHBEARER bixhPWJvYiwBYXV0aD1CZWFyZXIgeAEB", "", ""}, {"PLAIN AAAA", "", ""},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, args, one, two string) {
		c, _, err := run(args, one, two)
		if err != nil {
			if c != (sasl.Credentials{}) {
				t.Fatalf("%+v with %v", c, err)
			}
			return
		}
		for _, text := range []string{c.User, c.Authzid, c.Password} {
			if c.User == "" || len(text) > 1024 || strings.ContainsAny(text, "\x00\r\n") {
				t.Fatalf("%q are no credentials", text)
			}
		}
	})
}
