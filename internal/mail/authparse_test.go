package mail

import (
	"fmt"
	"strings"
	"testing"
)

// The examples are those of RFC 8601 appendix B, and what people try.
func TestParseAuthResults(t *testing.T) {
	for value, want := range map[string]string{
		"example.org 1; none": "example.org []",
		"example.com;\r\n          spf=pass smtp.mailfrom=example.net":                                       "example.com [{spf pass  [{smtp mailfrom example.net}]}]",
		"example.com; auth=pass (cram-md5) smtp.auth=sender@example.net; spf=pass smtp.mailfrom=example.net": "example.com [{auth pass  [{smtp auth sender@example.net}]} {spf pass  [{smtp mailfrom example.net}]}]",
		"example.com; dkim=pass reason=\"good signature\" header.i=@mail-router.example.net":                 "example.com [{dkim pass good signature [{header i @mail-router.example.net}]}]",
		"foo.example.net (foobar) 1 (baz);\r\n dkim (Because I like it) / 1 (One yay) = (wait for it) fail\r\n policy (A dot can go here) . (like that) expired\r\n (this surprised me) = (as I wasn't expecting it) 1362471462": "foo.example.net [{dkim fail  [{policy expired 1362471462}]}]",
		`"Example.ORG."; spf=pass`:                            "example.org [{spf pass  []}]",
		"a.example; dkim=pass header.b=ab+/cd==":              "a.example [{dkim pass  [{header b ab+/cd==}]}]",
		"a.example; iprev=pass policy.iprev=2001:db8::1;":     "a.example [{iprev pass  [{policy iprev 2001:db8::1}]}]",
		`a.example; spf=pass smtp.mailfrom="x y"@b.example`:   "a.example [{spf pass  [{smtp mailfrom x y@b.example}]}]",
		`a.example; spf=fail smtp.mailfrom="x; dmarc=pass"@b`: "a.example [{spf fail  [{smtp mailfrom x; dmarc=pass@b}]}]",
		"a.example; spf=fail (; dmarc=pass) smtp.helo=b":      "a.example [{spf fail  [{smtp helo b}]}]",
		"a.example; spf=fail reason=\"\\\"; dmarc=pass\"":     "a.example [{spf fail \"; dmarc=pass []}]",
		"a.example": "a.example []",
		"":          "", "; spf=pass": "", "a.example; spf": "", "a.example; spf=": "", "a.example spf=pass": "", "a.example; none; spf=pass": "",
		"a.example; spf=pass header.i.x=1": "", "a.example; dkim.__proto__=pass": "", "a.example; dkim=pass header.from.toString.z=1": "",
		"a.example; spf=pass (unclosed": "", `a.example; spf=pass smtp.helo="unclosed`: "", "a.example;; spf=pass": "", "a.example; spf=pass smtp.helo=a\"b\"": "",
		"a.example; spf=pass\x00": "", "a.example; spf=pass smtp.helo=a\rb": "", "a.example; spf=pass\xff": "", "a.example; spf=pass reason=a reason=b": "",
		"a.example; spf=pass smtp.mailfrom=\"a\"b": "", "a.example; spf=pass " + strings.Repeat("(", 100) + strings.Repeat(")", 100): "",
		"a.example" + strings.Repeat("; spf=pass", maxAuthResults+1): "",
	} {
		id, results, err := ParseAuthResults(value)
		got := fmt.Sprint(id, " ", results)
		if err != nil {
			got = ""
		}
		if got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

// What we write we read, and no value gets out of its place.
func TestAuthResultsComeBack(t *testing.T) {
	hostile := []string{"", `a"; dmarc=pass header.from=bank.example`, "x; spf=pass", "(", `\`, "a(b)c", "@", "a b@c", "é", ";", "a,b"}
	for _, v := range hostile {
		in := []AuthResult{{Method: "spf", Result: "fail", Reason: v, Props: []AuthProp{{"smtp", "mailfrom", v}}}}
		field := string(FormatAuthResults("mx.corp.example", in))
		id, out, err := ParseAuthResults(strings.TrimPrefix(field, "Authentication-Results:"))
		if err != nil || id != "mx.corp.example" || fmt.Sprint(out) != fmt.Sprint(in) {
			t.Errorf("%q: %q: %v %v", v, field, out, err)
		}
	}
}

func FuzzParseAuthResults(f *testing.F) {
	f.Add("foo.example.net (foobar) 1 (baz); dkim (x) / 1 (y) = (z) fail policy (a) . (b) expired (c) = (d) 1362471462")
	f.Add(`a.example; spf=pass smtp.mailfrom="x; y"@b.example reason="z"`)
	f.Add("example.org 1; none")
	f.Add(".")
	f.Fuzz(func(t *testing.T, value string) {
		id, results, err := ParseAuthResults(value)
		if err != nil {
			return
		}
		if len(results) > strings.Count(value, ";") || id == "" {
			t.Errorf("%q: %q %v", value, id, results)
		}
		for _, r := range results {
			if r.Method == "" || r.Result == "" {
				t.Errorf("%q: %v", value, results)
			}
		}
	})
}
