package mail

import (
	"errors"
	"strings"
	"unicode/utf8"

	"postern/internal/mail/ascii"
)

// Limits of a field of results.
const (
	maxAuthLength  = 64 << 10
	maxAuthResults = 100
	maxAuthProps   = 50
)

// ErrAuthResults says that a text is not the payload of an Authentication-Results field.
var ErrAuthResults = errors.New("not results of authentication that every reader reads alike")

// ParseAuthResults reads the value of an Authentication-Results field, or what stands behind the instance in an
// ARC-Authentication-Results field: RFC 8601 section 2.2. Comments and quoted strings are read as such before anything
// is cut, so that no value can pose as a result. One error makes the whole value unusable: its author does not know the
// grammar, or somebody else wrote part of it.
//
// More than the grammar allows is taken where no two readers differ: the characters of base64, of IPv6 addresses and of
// UTF-8 in a bare value, and one semicolon at the end.
func ParseAuthResults(value string) (authservID string, results []AuthResult, err error) {
	if len(value) > maxAuthLength || !utf8.ValidString(value) {
		return "", nil, ErrAuthResults
	}

	p := authParser{fromParser{text: strings.NewReplacer("\r\n", "").Replace(value)}}
	if authservID, err = p.server(); err != nil {
		return "", nil, ErrAuthResults
	}
	if results, err = p.results(); err != nil {
		return "", nil, ErrAuthResults
	}

	return authservID, results, nil
}

// results reads the resinfos, each behind a semicolon, or "none" where it stands alone.
func (p *authParser) results() (all []AuthResult, err error) {
	for p.at < len(p.text) {
		if !p.sign(';') || len(all) == maxAuthResults {
			return nil, ErrAuthResults
		}
		if p.at == len(p.text) {
			break
		}
		r, none, err := p.result()
		switch {
		case err != nil:
			return nil, err
		case !none:
			all = append(all, r)
		case len(all) > 0 || p.at < len(p.text):
			return nil, ErrAuthResults
		}
	}

	return all, nil
}

// server reads the authserv-id, and the version behind it.
func (p *authParser) server() (string, error) {
	id, err := p.value()
	id = strings.TrimSuffix(strings.ToLower(id), ".")
	if err != nil || id == "" || p.skip() != nil {
		return "", ErrAuthResults
	}

	if ascii.IsDigit(p.peek()) { // authres-version
		if version := p.keyword(); strings.Trim(version, "0123456789") != "" || p.skip() != nil {
			return "", ErrAuthResults
		}
	}

	return id, nil
}

type authParser struct{ fromParser }

// keyword reads a Keyword of RFC 8601 section 2.2: letters, digits, hyphens and underscores, which some senders write.
func (p *authParser) keyword() string {
	start := p.at
	for p.at < len(p.text) && isKeywordOctet(p.text[p.at]) {
		p.at++
	}
	return strings.ToLower(p.text[start:p.at])
}

func isKeywordOctet(c byte) bool { return ascii.IsAlnum(c) || c == '-' || c == '_' }

// sign reads one character with white space and comments around it.
func (p *authParser) sign(c byte) bool {
	if p.skip() != nil || p.peek() != c {
		return false
	}
	p.at++
	return p.skip() == nil
}

// result reads a resinfo, or the no-result "none".
func (p *authParser) result() (r AuthResult, none bool, err error) {
	if r.Method = AuthMethod(p.keyword()); r.Method == "" || p.skip() != nil {
		return r, false, ErrAuthResults
	}
	if string(r.Method) == string(AuthNone) && (p.at == len(p.text)) {
		return r, true, nil
	}
	if p.peek() == '/' { // method-version
		if !p.sign('/') || strings.Trim(p.keyword(), "0123456789") != "" {
			return r, false, ErrAuthResults
		}
	}
	if !p.sign('=') {
		return r, false, ErrAuthResults
	}
	if r.Result = AuthVerdict(p.keyword()); r.Result == "" {
		return r, false, ErrAuthResults
	}

	return r, false, p.properties(&r)
}

// properties reads a result's properties, to the end of it.
func (p *authParser) properties(r *AuthResult) error {
	for {
		before := p.at
		if err := p.skip(); err != nil {
			return err
		}
		if p.at == len(p.text) || p.peek() == ';' {
			return nil
		}
		// what follows stands apart: "pass.x" is no result
		if p.at == before || len(r.Props) == maxAuthProps {
			return ErrAuthResults
		}
		if err := p.property(r); err != nil {
			return err
		}
	}
}

// property reads a propspec, or the reason.
func (p *authParser) property(r *AuthResult) (err error) {
	name := p.keyword()
	if name == "" || p.skip() != nil {
		return ErrAuthResults
	}
	if name == "reason" && p.peek() == '=' {
		return p.reason(r)
	}
	prop := AuthProp{Type: name}
	if !p.sign('.') {
		return ErrAuthResults
	}
	if prop.Property = p.keyword(); prop.Property == "" || !p.sign('=') {
		return ErrAuthResults
	}
	if prop.Value, err = p.value(); err != nil {
		return err
	}
	r.Props = append(r.Props, prop)
	return nil
}

// reason reads the rest of a reasonspec, of which there is one at most, before all properties.
func (p *authParser) reason(r *AuthResult) (err error) {
	if r.Reason != "" || len(r.Props) > 0 || !p.sign('=') {
		return ErrAuthResults
	}
	r.Reason, err = p.value()
	return err
}

// value reads a token, a quoted string, or an address whose local part may be quoted.
func (p *authParser) value() (string, error) {
	if err := p.skip(); err != nil {
		return "", err
	}
	quoted := ""
	if p.peek() == '"' {
		var err error
		if quoted, err = p.quotedString(); err != nil || p.peek() != '@' {
			return quoted, err
		}
	}
	start := p.at
	for p.at < len(p.text) && isBareOctet(p.text[p.at]) {
		p.at++
	}
	if p.at == start || p.peek() == '"' {
		return "", ErrAuthResults
	}
	return quoted + p.text[start:p.at], nil
}

// isBareOctet holds for what may stand in a value without quotes.
func isBareOctet(c byte) bool {
	return c > ' ' && c != 0x7f && strings.IndexByte(`;()"\<>,`, c) < 0
}
