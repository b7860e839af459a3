package rules

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"postern/rules/eval"
	"postern/rules/perlre"
	"postern/rules/views"
)

// readPart reads Header:raw =~ /re/ [if-unset: text] of a mimeheader rule.
func (r *rule) readPart(value string) error {
	if err := r.readHeader(value); err != nil {
		return err
	}
	if rawOnly := (views.Spec{Name: r.spec.Name, Raw: r.spec.Raw}); r.exists || r.spec != rawOnly {
		return errors.New("of a part's header only :raw is known")
	}
	return nil
}

// detail is a condition of a uri_detail rule.
type detail struct {
	what   string
	negate bool
	re     *perlre.Regexp
}

var detailForm = regexp.MustCompile(`^(\w+)\s*([=!]~)\s*`)

// readDetail reads conditions as key =~ /re/.
func (r *rule) readDetail(value string) error {
	for value = strings.TrimSpace(value); value != ""; value = strings.TrimSpace(value) {
		m := detailForm.FindStringSubmatch(value)
		if m == nil {
			return fmt.Errorf("want conditions as cleaned =~ /.../, at %q", value)
		}
		if !slices.Contains([]string{"raw", "type", "cleaned", "text", "domain", "host"}, m[1]) {
			return fmt.Errorf("%q is not known of a link", m[1])
		}
		value = value[len(m[0]):]
		n := patternLength(value)
		if n == 0 {
			return errors.New("want an expression as /.../")
		}
		expr, err := unwrap(value[:n])
		if err != nil {
			return err
		}
		re, err := compileExpr(expr)
		if err != nil {
			return err
		}
		r.details = append(r.details, detail{m[1], m[2] == "!~", re})
		value = value[n:]
	}
	if len(r.details) == 0 {
		return errors.New("want a condition")
	}
	return nil
}

// patternLength is the length of /re/mods at the front, up to white space or the end.
func patternLength(text string) int {
	at := 1
	if strings.HasPrefix(text, "m") && len(text) > 1 {
		at = 2
	} else if !strings.HasPrefix(text, "/") {
		return 0
	}
	for i := at; i < len(text); i++ {
		if text[i] != text[at-1] {
			continue
		}
		rest := strings.TrimLeft(text[i+1:], "imsx")
		if rest == "" || rest[0] == ' ' || rest[0] == '\t' {
			return len(text) - len(rest)
		}
	}
	return 0
}

// of gives the texts of a link that a condition is about.
func (d detail) of(u *views.URI) []string {
	switch d.what {
	case "raw":
		return []string{u.Raw}
	case "type":
		return u.Types
	case "cleaned":
		return u.Cleaned
	case "text":
		return u.Anchors
	case "domain":
		return u.Domains
	}
	return u.Hosts
}

// dnsQuery is what an askdns rule asks.
type dnsQuery struct {
	name, kind string
	test       eval.Subtest
	tags       []string
}

var queryTag = regexp.MustCompile(`_([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*(?:\(.*?\))?)_`)

// readDNS reads NAME TYPE TEST.
func (r *rule) readDNS(value string) (err error) {
	name, rest := cut(value)
	kind, test := cut(rest)
	if kind == "" {
		kind = "A"
	}
	r.query = dnsQuery{name: name, kind: strings.ToUpper(kind)}
	for _, m := range queryTag.FindAllStringSubmatch(name, -1) {
		r.query.tags = append(r.query.tags, m[1])
	}
	if strings.HasPrefix(test, "[") { // the code of the answer, which lists don't tell
		r.broken = "the code of a DNS answer is not known here"
		return nil
	}
	if name == "" {
		return errors.New("want the name that is looked up")
	}
	r.query.test, err = eval.ParseSubtest(strings.TrimSpace(test), func(text string) (*perlre.Regexp, error) {
		expr, err := unwrap(text)
		if err != nil {
			return nil, err
		}
		return compileExpr(expr)
	})
	if r.query.kind != "A" && r.query.kind != "TXT" {
		r.broken = "records of type " + r.query.kind + " are not looked up here"
	}
	return err
}
