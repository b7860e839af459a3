package icap

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"net/netip"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
)

const letter = "From: a@b.example\r\nSubject: x\r\n\r\nhello\r\n"

// scanner is a fake ICAP server: it reads a request by the RFC, then says what it was told; {body} stands for the content
// it got, in chunks.
func scanner(t *testing.T, says string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(t, c, says)
		}
	}()
	return "icap://" + l.Addr().String() + "/scan"
}

func serve(t *testing.T, c net.Conn, says string) {
	defer c.Close()
	in := bufio.NewReader(c)
	text := textproto.NewReader(in)
	line, err := text.ReadLine()
	if err != nil {
		return
	}
	header, err := text.ReadMIMEHeader()
	if err != nil {
		t.Errorf("%s: %v", line, err)
		return
	}
	if strings.HasPrefix(line, "OPTIONS ") {
		fmt.Fprint(c, "ICAP/1.0 200 OK\r\nMethods: RESPMOD, REQMOD\r\nISTag: \"1\"\r\nAllow: 204\r\nEncapsulated: null-body=0\r\n\r\n")
		return
	}
	var offset int
	parts := strings.Split(header.Get("Encapsulated"), ", ")
	if _, err := fmt.Sscanf(parts[len(parts)-1], parts[len(parts)-1][:strings.IndexByte(parts[len(parts)-1], '=')]+"=%d", &offset); err != nil {
		t.Errorf("Encapsulated: %q", header.Get("Encapsulated"))
	}
	headers := make([]byte, offset)
	if _, err := io.ReadFull(in, headers); err != nil || !strings.HasSuffix(string(headers), "\r\n\r\n") {
		t.Errorf("headers %q %v", headers, err)
	}
	body, err := io.ReadAll(httputil.NewChunkedReader(in))
	if err != nil || string(body) != letter {
		t.Errorf("body %q %v", body, err)
	}
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	_, _ = io.WriteString(c, strings.NewReplacer("\n", "\r\n", "{body}", chunked).Replace(says))
}

func inspect(t *testing.T, settings map[string]any) (string, error) {
	t.Helper()
	f, err := Spec.New(config.NewSection("filters.icap", settings), filters.Env{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	found, err := f.Inspect(t.Context(), &mail.Transaction{ID: "ID1.1", Session: &mail.Session{Client: netip.MustParseAddr("192.0.2.1")}, Message: mail.NewMessage([]byte(letter))})
	var all []string
	for _, one := range found {
		all = append(all, one.Symbol+" "+one.Evidence)
	}
	return strings.Join(all, ", "), err
}

func TestAnswers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\nContent-Type: x\n\n"
	for says, want := range map[string]string{
		"ICAP/1.0 204 No Modifications\nISTag: \"1\"\n\n":                                                                              "",
		"ICAP/1.0 100 Continue\n\nICAP/1.0 204 OK\n\n":                                                                                 "",
		"ICAP/1.0 200 OK\nEncapsulated: res-hdr=0, res-body=30\n\n" + ok + "{body}":                                                    "",
		"ICAP/1.0 200 OK\nX-Infection-Found: Type=0; Resolution=2; Threat=Eicar-Test;\nEncapsulated: res-hdr=0, null-body=30\n\n" + ok: "ICAP_VIRUS Eicar-Test",
		"ICAP/1.0 204 OK\nX-Virus-ID: Worm\n\n":                                                                                        "ICAP_VIRUS Worm",
		"ICAP/1.0 200 OK\nX-Violations-Found: 0\nEncapsulated: res-hdr=0, res-body=30\n\n" + ok + "{body}":                             "",
		"ICAP/1.0 200 OK\nEncapsulated: res-hdr=0, res-body=30\n\nHTTP/1.1 403 Forbidden\n\n9\nblocked!!\n0\n\n":                       "ICAP_BLOCKED ",
		"ICAP/1.0 200 OK\nEncapsulated: res-hdr=0, res-body=30\n\n" + ok + "5\nother\n0\n\n":                                           "ICAP_BLOCKED ",
		"ICAP/1.0 200 OK\nEncapsulated: res-hdr=0, null-body=30\n\n" + ok:                                                              "ICAP_BLOCKED ",
		"ICAP/1.0 206 Partial\n\n":         "error",
		"ICAP/1.0 500 Server error\n\n":    "error",
		"ICAP/1.0 404 No such service\n\n": "error",
		"HTTP/1.1 204 No Content\n\n":      "error",
		"ICAP/1.0 204":                     "error",
		"":                                 "error",
		"ICAP/1.0 200 OK\nEncapsulated: res-hdr=0, res-body=30\n\n" + ok + "5\nhel": "error",
		"ICAP/1.0 200 OK\n\n": "error",
		"ICAP/1.0 100 Continue\n\nICAP/1.0 100 Continue\n\nICAP/1.0 100 Continue\n\n": "error",
		"ICAP/1.0 200 OK\nEncapsulated: res-hdr=0, res-body=30\n\nHTTP/1.1 x\n\n":     "error",
	} {
		for _, method := range []string{"RESPMOD", "REQMOD"} {
			got, err := inspect(t, map[string]any{"url": scanner(t, says), "method": method, "timeout": "3s"})
			if err != nil {
				got = "error"
			}
			if got != want {
				t.Errorf("%s %.100q: %q %v, want %q", method, says, got, err, want)
			}
		}
	}
}

func TestNobodyThereIsNeverClean(t *testing.T) {
	if got, err := inspect(t, map[string]any{"url": "icap://127.0.0.1:9/scan", "timeout": "1s"}); err == nil {
		t.Errorf("clean: %q", got)
	}
	if got, err := inspect(t, map[string]any{"url": "icap://127.0.0.1:9/scan", "max_size": "10B"}); err != nil || got != "ICAP_NOT_SCANNED 40 octets" {
		t.Errorf("%q %v", got, err)
	}
}

func TestSettings(t *testing.T) {
	for _, settings := range []map[string]any{{}, {"url": "http://x/"}, {"url": "icap://x/", "method": "GET"}, {"url": "icap://x/", "timeout": "2m"}, {"url": "icap://x/", "connections": 0}} {
		if _, err := Spec.New(config.NewSection("filters.icap", settings), filters.Env{}); err == nil {
			t.Errorf("%v is taken", settings)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add("ICAP/1.0 204 OK\r\n\r\n")
	f.Add("ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=30\r\n\r\nHTTP/1.1 200 OK\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
	f.Fuzz(func(_ *testing.T, text string) {
		in := bufio.NewReader(&limited{strings.NewReader(text), maxHeader})
		if _, header, err := answer(in); err == nil {
			_, _, _ = body(in, header.Get("Encapsulated"))
		}
	})
}
