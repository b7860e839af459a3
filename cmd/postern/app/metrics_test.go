package app_test

import (
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// What Prometheus reads: every line is one of its text format, and a message that went through is counted.
func TestMetrics(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	g := newGate(t, "[metrics]\nlisten = \""+address+"\"")
	c := g.dial("mx")
	if code, said := c.message("", "ben@ours.test", "From: a@[192.0.2.1]\r\nMessage-ID: <1@x.test>\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\n\r\nx\r\n"); code != 250 {
		t.Fatal(code, said)
	}
	c.say("QUIT", 221)
	r, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatal(r.Status, err)
	}
	sample := regexp.MustCompile(`^[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [0-9.e+]+$`)
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSuffix(line, "\n"); !strings.HasPrefix(line, "# ") && !sample.MatchString(line) {
			t.Errorf("%q", line)
		}
	}
	for _, want := range []string{"postern_recipients_total{fate=\"delivered\"} 1\n", "postern_connections_total{door=\"mx\"} 1\n",
		"# TYPE postern_hop_up gauge\n", "postern_queue_messages 0\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
