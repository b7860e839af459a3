package proxy

import (
	"io"
	"strings"
	"testing"

	"postern/filters"
	"postern/internal/mail"
	"postern/policy"
)

func TestAPartIsTakenOutOfAMultipart(t *testing.T) {
	const letter = "From: a@b.example\nContent-Type: multipart/mixed; boundary=X\n\n--X\n\nhello\n--X\nContent-Type: application/x-evil; name=a.exe\n\nMZ\n--X\nContent-Type: text/plain\n\nbye\n--X--\n"
	raw := strings.ReplaceAll(letter, "\n", "\r\n")
	header := int64(strings.Index(raw, "Content-Type: application"))
	span := filters.PartSpan{Header: header, Start: int64(strings.Index(raw, "MZ")), End: int64(strings.Index(raw, "MZ") + 2), Name: "a\r\n.exe"}
	inside := filters.PartSpan{Header: header + 10, Start: header + 20, End: header + 21}
	x := &Transaction{g: &Gateway{Hostname: "gw.test"}, tx: &mail.Transaction{Session: &mail.Session{}, Message: mail.NewMessage([]byte(raw)), Findings: []mail.Finding{
		{Symbol: "EXE", Value: filters.Located{Spans: []filters.PartSpan{inside, span}}},
		{Symbol: "OTHER", Value: filters.Located{Spans: []filters.PartSpan{{Header: 60, Start: 70, End: 80}}}},
	}}}
	b := &batch{heldID: "ID1.1-1", verdict: policy.Verdict{Strip: []string{"EXE"}}}
	b.copy = mail.Copy{Message: x.tx.Message}
	if fields, err := x.strip(b); len(fields) > 0 || err != nil {
		t.Errorf("fields %q, %v", fields, err)
	}
	got, err := io.ReadAll(b.copy.Open())
	if err != nil || b.copy.Size() != int64(len(got)) {
		t.Fatal(err, b.copy.Size(), len(got))
	}
	before, after := raw[:header], raw[strings.Index(raw, "MZ")+2:]
	if !strings.HasPrefix(string(got), before+"Content-Type: text/plain; charset=utf-8\r\n") || !strings.HasSuffix(string(got), after) {
		t.Errorf("got %s", got)
	}
	if strings.Contains(string(got), "MZ") || !strings.Contains(string(got), "a??.exe\r\n") || !strings.Contains(string(got), "ID1.1-1") {
		t.Errorf("got %s", got)
	}
}

// Two filters may see two ends of a part: what either wants removed is removed.
func TestOverlappingPartsAreBothTakenOut(t *testing.T) {
	raw := strings.ReplaceAll("From: a@b.example\nContent-Type: multipart/mixed; boundary=X\n\n--X\nContent-Type: a/b\n\nMZ first\nPK second\n--X--\n", "\n", "\r\n")
	at := func(text string) int64 { return int64(strings.Index(raw, text)) }
	span := func(header, end int64) filters.PartSpan {
		return filters.PartSpan{Header: header, Start: at("MZ"), End: end}
	}
	for name, spans := range map[string][]filters.PartSpan{
		"same beginning": {span(at("Content-Type: a/b"), at("PK")), span(at("Content-Type: a/b"), at("\r\n--X--"))},
		"later one":      {span(at("Content-Type: a/b"), at("PK")), {Header: at("first"), Start: at("first"), End: at("\r\n--X--")}},
	} {
		x := &Transaction{g: &Gateway{Hostname: "gw.test"}, tx: &mail.Transaction{Session: &mail.Session{}, Message: mail.NewMessage([]byte(raw)), Findings: []mail.Finding{
			{Symbol: "EXE", Value: filters.Located{Spans: spans}},
		}}}
		b := &batch{heldID: "ID1.1-1", verdict: policy.Verdict{Strip: []string{"EXE"}}, copy: mail.Copy{Message: x.tx.Message}}
		if _, err := x.strip(b); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(b.copy.Open())
		if err != nil || strings.Contains(string(got), "MZ") || strings.Contains(string(got), "PK") || !strings.HasSuffix(string(got), "\r\n--X--\r\n") {
			t.Errorf("%s: %v, %s", name, err, got)
		}
	}
}
