package smtpd_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"postern/internal/config"
	"postern/policy"
	"postern/proxy"
)

// What gives a robot away is one finding a session, and policy says what becomes of it.
func TestPolicyDecidesOnOddCommands(t *testing.T) {
	for name, c := range map[string]struct{ settings, actions, said, want, symbol string }{
		"noted":             {"", ``, "EHLO x.example\nWHOAMI\nWHOAMI\nNOOP", "250 2.0.0 Ok", "NON_SMTP_COMMAND"},
		"dropped":           {"", `NON_SMTP_COMMAND = "drop"`, "EHLO x.example\nWHOAMI", "421 4.7.0", "NON_SMTP_COMMAND"},
		"http":              {"", ``, "GET / HTTP/1.1", "500 5.5.2", "HTTP_COMMAND"},
		"http refused":      {"", `HTTP_COMMAND = "reject"`, "GET / HTTP/1.1", "550 5.7.1", "HTTP_COMMAND"},
		"bare LF":           {"normalise", ``, "NOOP\\n\nNOOP", "250 2.0.0 Ok", "BARE_LF_COMMAND"},
		"bare LF dropped":   {"normalise", `BARE_LF_COMMAND = "drop"`, "NOOP\\n", "421 4.7.0", "BARE_LF_COMMAND"},
		"bare LF forbidden": {"", ``, "NOOP\\n", "500 5.5.2", "BARE_LF_COMMAND"},
	} {
		t.Run(name, func(t *testing.T) {
			settings := map[string]string{}
			if c.settings != "" {
				settings[c.settings] = "yes"
			}
			b := newBench(t, settings)
			parsed, problems := policy.Parse("policy.toml", []byte("[actions]\n"+c.actions+"\n"))
			if len(problems) > 0 {
				t.Fatal(config.Problems(problems))
			}
			judge, problems := policy.Compile(parsed, proxy.Symbols())
			if len(problems) > 0 {
				t.Fatal(config.Problems(problems))
			}
			b.use(judge)
			said := rawVisit(t, b, c.said)
			if last := said[strings.LastIndex(strings.TrimSuffix(said, "\r\n"), "\n")+1:]; !strings.HasPrefix(last, c.want) {
				t.Errorf("said %q, want %s at the end", said, c.want)
			}
			found := 0
			for _, f := range b.ledger.last().Findings {
				if f.Symbol == c.symbol {
					found++
				}
			}
			if found != 1 {
				t.Errorf("%s stands %d times in the record", c.symbol, found)
			}
		})
	}
}

// rawVisit says lines one by one, "\n" within one for a bare LF at its end, and gives all that was answered.
func rawVisit(t *testing.T, b *bench, lines string) string {
	t.Helper()
	conn, err := net.Dial("tcp", b.listen(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	var said strings.Builder
	hear := func() bool {
		buf := make([]byte, 4096)
		n, err := conn.Read(buf)
		said.Write(buf[:n])
		return err == nil
	}
	for line := range strings.Lines(lines) {
		if !hear() {
			break
		}
		line = strings.TrimSuffix(line, "\n")
		if text, bare := strings.CutSuffix(line, `\n`); bare {
			fmt.Fprintf(conn, "%s\n", text)
		} else {
			fmt.Fprintf(conn, "%s\r\n", line)
		}
	}
	hear()
	return said.String()
}
