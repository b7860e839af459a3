package mail

import (
	"errors"
	"strings"
	"unicode/utf8"
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
// is cut, so that no value can pose as a result. An error anywhere is an error of the whole: who wrote it could not write
// it properly, or somebody else wrote it.
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
	for p.at < len(p.text) {
		if !p.sign(';') || len(results) == maxAuthResults {
			return "", nil, ErrAuthResults
		}
		if p.at == len(p.text) {
			break
		}
		r, none, err := p.result()
		if err != nil || none && (len(results) > 0 || p.at < len(p.text)) {
			return "", nil, ErrAuthResults
		}
		if !none {
			results = append(results, r)
		}
	}

	return authservID, results, nil
}

// server reads the authserv-id, and the version behind it.
func (p *authParser) server() (string, error) {
	id, err := p.value()
	id = strings.TrimSuffix(strings.ToLower(id), ".")
	if err != nil || id == "" || p.skip() != nil {
		return "", ErrAuthResults
	}

	if isDigit(p.peek()) { // authres-version
		if version := p.keyword(); strings.Trim(version, "0123456789") != "" || p.skip() != nil {
			return "", ErrAuthResults
		}
	}

	return id, nil
}

type authParser struct{ fromParser }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// keyword reads a Keyword of RFC 8601 section 2.2: letters, digits, hyphens and, as in smtp verbs that are used,
// underscores.
func (p *authParser) keyword() string {
	start := p.at
	for p.at < len(p.text) {
		c := p.text[p.at]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || isDigit(c) || c == '-' || c == '_') {
			break
		}
		p.at++
	}
	return strings.ToLower(p.text[start:p.at])
}

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
		if r.Reason != "" || len(r.Props) > 0 || !p.sign('=') {
			return ErrAuthResults
		}
		r.Reason, err = p.value()
		return err
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
	for p.at < len(p.text) {
		c := p.text[p.at]
		if c <= ' ' || c == 0x7f || strings.IndexByte(`;()"\<>,`, c) >= 0 {
			break
		}
		p.at++
	}
	if p.at == start || p.peek() == '"' {
		return "", ErrAuthResults
	}
	return quoted + p.text[start:p.at], nil
}
