package views

import (
	"reflect"
	"strings"
	"testing"
)

func TestMailboxes(t *testing.T) {
	for field, want := range map[string][]Mailbox{
		` "Doe, Jane" <jane@a.example>`:                         {{"jane@a.example", "Doe, Jane ", true, true}},
		` jane@a.example (Jane)`:                                {{"jane@a.example", "Jane", true, true}},
		` a@a.example, b@b.example;`:                            {{"a@a.example", "", true, false}, {"b@b.example", "", true, false}},
		` Jane <not an address>`:                                {{"", "Jane ", false, true}},
		` undisclosed-recipients:;`:                             nil,
		` <a@a.example>`:                                        {{"a@a.example", "", true, false}},
		` "a\"b" <a@a.example>`:                                 {{"a@a.example", `a"b `, true, true}},
		` Jane`:                                                 {{"", "Jane", false, true}},
		` <a@a.example> <b@b.example>`:                          {{"a@a.example", "", true, false}},
		` "quoted@local"@a.example`:                             {{`"quoted@local"`, "", true, false}},
		` jane@a.example <jane@a.example>`:                      {{"jane@a.example", "jane@a.example ", true, true}},
		` =?utf-8?q?J=C3=A4ne?= <j@a.example>, K <k@k.example>`: {{"j@a.example", "=?utf-8?q?J=C3=A4ne?= ", true, true}, {"k@k.example", "K ", true, true}},
	} {
		if got := ParseMailboxes(field); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", field, got, want)
		}
	}
}

func TestCanonicalLinks(t *testing.T) {
	d := PublicDomains()
	for link, want := range map[string]string{
		"http:/a.example/x":                   "http://a.example/x",
		"http://a.example?x":                  "http://a.example/?x",
		"http://3221225985/":                  "http://192.0.2.1/",
		"http://0300.0x0.02.1/":               "http://192.0.2.1/",
		"http://0xC0000201/":                  "http://192.0.2.1/",
		"http://a.example/%41":                "http://a.example/A",
		"http://user@a.example/":              "",
		"www.a.example":                       "http://www.a.example",
		"http://go.example/?http://b.example": "http://b.example",
		"mailto:a@a.example?subject=x":        "mailto:a@a.example",
		"http://bare/":                        "http://www.bare.com/",
		`http:\\a.example\x`:                  "http://a.example/x",
	} {
		forms := canonical(link, d, nil)
		if want != "" && !strings.Contains("\n"+strings.Join(forms, "\n")+"\n", "\n"+want+"\n") {
			t.Errorf("%s: %q, want %s among them", link, forms, want)
		}
	}
}

func TestParagraphs(t *testing.T) {
	for text, want := range map[string]string{
		"a\nb":               "a b",
		"a\n\nb":             "a\nb",
		"a  \n \n  b":        "a \n b",
		"\n\na":              "\na",
		"a\u00a0\n\u3000\nb": "a \nb",
		"a\x00b":             "a\nb",
	} {
		if got := paragraphs(text, true); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestHTML(t *testing.T) {
	for source, want := range map[string]string{
		"a<b>c</b>d":                            "acd",
		"<p>one</p><p>two":                      "\n\none\n\n\n\ntwo",
		"a<!-- x --> b":                         "a b",
		"<script>x</script>y":                   "y",
		"<style>x<y</style >z":                  "z",
		"a < b &lt; c":                          "a < b < c",
		"caf&eacute; &euro;1 &nosuch; &amp&#65": "caf\u00e9 \u20ac1 &nosuch; &A",
		"<title>T</title>x":                     "\n\nT\n\nx",
		"a<br/>b":                               "a\nb",
		"<a href='x>y'>z":                       "z",
		"a<b":                                   "a",
	} {
		if _, got := readPage(source, true, len(source)); got != want {
			t.Errorf("%q: %q, want %q", source, got, want)
		}
	}
}

// TimeIsLinear: none of these takes longer than its size asks for.
func TestHostileMessagesEnd(t *testing.T) {
	for _, body := range []string{
		strings.Repeat("<", 200_000), strings.Repeat("<!--", 50_000), strings.Repeat("<a href='", 20_000), strings.Repeat("<td>", 50_000),
		strings.Repeat("a@", 100_000), strings.Repeat("http://a.example/ ", 20_000), strings.Repeat("&#65;", 50_000), strings.Repeat("a.b.", 60_000),
		strings.Repeat("</script", 30_000), strings.Repeat("=\n", 100_000), strings.Repeat("--x\n\n", 30_000),
	} {
		for _, head := range []string{"Content-Type: text/html\n\n", "Content-Type: multipart/mixed; boundary=x\n\n", "Subject: x\nContent-Transfer-Encoding: quoted-printable\n\n"} {
			m := Read(head+body, Options{})
			m.Body()
			m.Raw()
			m.URIs()
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("From: a@b.example\nContent-Type: multipart/mixed; boundary=\"x\"\n\n--x\nContent-Type: text/html\n\n<p>a&amp;b<a href=http://c.example>d</a>\n--x--\n")
	f.Add("Subject: =?utf-8?q?a?=\n =?utf-8?b?Yg==?=\nTo: \"x\" <y@z.example>, g: h@i.example;\nReceived: from a (b [1.2.3.4]) by c with d\n\nsee www.a.example/x and b@c.example\n")
	f.Add("Content-Type: message/rfc822\n\nContent-Transfer-Encoding: base64\n\nYWJj\n")
	f.Add("Content-Type: text/plain; charset=utf-16\n\n\x00a\x00b\n")
	f.Fuzz(func(t *testing.T, raw string) {
		m := Read(raw, Options{})
		m.Body()
		m.Raw()
		m.URIs()
		m.Tree()
		for _, name := range []string{"From:addr", "From:name", "To:addr:host", "ToCc:addr:domain", "MESSAGEID", "ALL:raw", "ALL", "ALL-TRUSTED", "ALL-EXTERNAL", "Received:revip", "EnvelopeFrom:addr", "X-Spam-Relays-External", "Subject:raw:first", "Subject:last"} {
			m.Get(name)
		}
		for _, line := range m.Body() {
			if len(line) > maxLine {
				t.Errorf("a line of %d octets", len(line))
			}
		}
	})
}

func FuzzSpec(f *testing.F) {
	for _, s := range []string{"From:addr:host", "ALL:raw", "X:first:name", "A::b", ":addr"} {
		f.Add(s)
	}
	m := Read("From: \"A\" <a@b.example>\nReceived: from x (y [203.0.113.1]) by z with ESMTP\n\nx\n", Options{})
	f.Fuzz(func(t *testing.T, name string) {
		if spec, unknown := ParseSpec(name); unknown == "" {
			m.Values(spec)
		}
	})
}
