package clamav

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
)

// daemon is a fake clamd: it finds "VIRUS" and what stands behind it up to a blank. behave may do anything else with a
// connection.
type daemon struct {
	address string
	conns   atomic.Int64
	scans   atomic.Int64
	mu      sync.Mutex
	behave  func(c net.Conn, n int64) bool // true if it did
}

func newDaemon(t testing.TB) *daemon {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	d := &daemon{address: l.Addr().String()}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				d.serve(c, d.conns.Add(1))
			}()
		}
	}()
	return d
}

func (d *daemon) serve(c net.Conn, n int64) {
	command := make([]byte, 11)
	if _, err := io.ReadFull(c, command); err != nil || string(command) != "zIDSESSION\x00" {
		return
	}
	for id := 1; ; id++ {
		d.mu.Lock()
		behave := d.behave
		d.mu.Unlock()
		if behave != nil && behave(c, n) {
			return
		}
		content, err := stream(c)
		if err != nil {
			return
		}
		d.scans.Add(1)
		said := "OK"
		if _, rest, ok := strings.Cut(content, "VIRUS:"); ok {
			said = strings.Fields(rest)[0] + " FOUND"
		}
		if _, err := fmt.Fprintf(c, "%d: stream: %s\x00", id, said); err != nil {
			return
		}
	}
}

// stream reads one INSTREAM.
func stream(c io.Reader) (string, error) {
	command := make([]byte, 10)
	if _, err := io.ReadFull(c, command); err != nil || string(command) != "zINSTREAM\x00" {
		return "", io.ErrUnexpectedEOF
	}
	var all strings.Builder
	for {
		var n uint32
		if err := binary.Read(c, binary.BigEndian, &n); err != nil {
			return "", err
		}
		if n == 0 {
			return all.String(), nil
		}
		if _, err := io.CopyN(&all, c, int64(n)); err != nil {
			return "", err
		}
	}
}

func newTestFilter(t testing.TB, settings map[string]any) filters.Filter {
	t.Helper()
	f, err := Spec.New(config.NewSection("filters.clamav", settings), filters.Env{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func inspect(t testing.TB, f filters.Filter, text string) (string, error) {
	t.Helper()
	return inspectWith(t, f, text, &mail.Transaction{})
}

func inspectWith(t testing.TB, f filters.Filter, text string, tx *mail.Transaction) (string, error) {
	t.Helper()
	m := mail.NewMessage([]byte(strings.ReplaceAll(text, "\n", "\r\n")))
	defer m.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	tx.Session, tx.Message = &mail.Session{Client: netip.MustParseAddr("192.0.2.1")}, m
	found, err := f.Inspect(ctx, tx)
	var all []string
	for _, one := range found {
		all = append(all, one.Symbol+" "+one.Evidence)
	}
	return strings.Join(all, ", "), err
}

const letter = "From: a@b.example\nSubject: x\n\n"

func TestWhatClamdSays(t *testing.T) {
	d := newDaemon(t)
	f := newTestFilter(t, map[string]any{"addresses": []string{d.address}, "max_size": "100KB"})
	for text, want := range map[string]string{
		letter + "hello\n":                                                   "",
		letter + "VIRUS:Win.Worm-1 x\n":                                      "CLAM_VIRUS Win.Worm-1",
		letter + "VIRUS:Heuristics.Phishing.Email x\n":                       "CLAM_VIRUS_HEURISTIC Heuristics.Phishing.Email",
		letter + "VIRUS:Heuristics.Encrypted.Zip x\n":                        "CLAM_VIRUS_ENCRYPTED Heuristics.Encrypted.Zip",
		letter + strings.Repeat("hello "+strings.Repeat("x", 60)+"\n", 3000): "CLAMAV_NOT_SCANNED 204033 octets",
		// a reader who believes the second of two encodings finds it, clamd alone does not
		"MIME-Version: 1.0\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: 7bit\nContent-Transfer-Encoding: base64\n\nVklSVVM6SGlkZGVuLTEgYW5kIHNvIG9uIGFuZCBzbyBvbiBhbmQgc28gb24K\n": "CLAM_VIRUS Hidden-1",
	} {
		if got, err := inspect(t, f, text); got != want || err != nil {
			t.Errorf("%.60q: %s %v, want %s", text, got, err, want)
		}
	}
	if n := d.conns.Load(); n != 1 {
		t.Errorf("%d connections for scans one after the other", n)
	}
}

// What clamd may pass over in the message comes to it by itself; a newsletter with many pictures is no reason to hold it.
func TestWhatClamdGets(t *testing.T) {
	d := newDaemon(t)
	f := newTestFilter(t, map[string]any{"addresses": []string{d.address}})
	file := func(what string) string {
		return base64.StdEncoding.EncodeToString([]byte(what + strings.Repeat(" and so on", 30)))
	}
	parts := func(kind string, parts ...string) string {
		return "From: a@b.example\nMIME-Version: 1.0\nContent-Type: multipart/" + kind + "; boundary=x\n\n--x\n" + strings.Join(parts, "\n--x\n") + "\n--x--\n"
	}
	hello := "Content-Type: text/plain\n\nhello"
	attached := "Content-Type: application/octet-stream; name=a.bin\nContent-Transfer-Encoding: base64\n\n" + file("VIRUS:Inside-1")
	var pictures []string
	for i := range 80 {
		pictures = append(pictures, "Content-Type: image/png\nContent-Transfer-Encoding: base64\n\n"+file(fmt.Sprint("picture ", i)))
	}
	for name, c := range map[string]struct{ text, want string }{
		"an attachment":        {parts("mixed", hello, attached), "CLAM_VIRUS Inside-1"},
		"multipart/parallel":   {parts("parallel", hello, attached), "CLAM_VIRUS Inside-1"},
		"third of a signed":    {parts("signed", hello, "Content-Type: application/pgp-signature\n\nx", attached), "CLAM_VIRUS Inside-1"},
		"in the preamble":      {strings.Replace(parts("mixed", hello), "\n\n--x", "\n\n"+attached+"\n\n--x", 1), "CLAM_VIRUS Inside-1"},
		"eighty pictures":      {parts("related", append(pictures, hello)...), ""},
		"eighty, and one more": {parts("related", append(pictures, attached)...), "CLAM_VIRUS Inside-1"},
	} {
		if got, err := inspect(t, f, c.text); !strings.Contains(got, c.want) || c.want == "" && got != "" || err != nil {
			t.Errorf("%s: %s %v, want %s", name, got, err, c.want)
		}
	}
}

// What is refused anyway is not scanned, and held should it not be refused in the end.
func TestRefusedAnyway(t *testing.T) {
	d := newDaemon(t)
	f := newTestFilter(t, map[string]any{"addresses": []string{d.address}})
	got, err := inspectWith(t, f, letter+"hello\n", &mail.Transaction{Refused: func() bool { return true }})
	if got != "CLAMAV_NOT_SCANNED the message is refused anyway" || err != nil || d.scans.Load() > 0 {
		t.Error(got, err, d.scans.Load())
	}
	if got, err = inspectWith(t, f, letter+"hello\n", &mail.Transaction{Refused: func() bool { return false }}); got != "" || err != nil {
		t.Error(got, err)
	}
}

// A bomb costs clamd ten seconds at most, and is not sent again and again.
func TestABombIsNoFailure(t *testing.T) {
	d := newDaemon(t)
	d.behave = func(c net.Conn, _ int64) bool { _, _ = stream(c); time.Sleep(3 * time.Second); return true }
	f := newTestFilter(t, map[string]any{"addresses": []string{d.address}, "timeout": "300ms"})
	got, err := inspectWith(t, f, letter+"hello\n", &mail.Transaction{Findings: []mail.Finding{{Symbol: "ATTACHMENT_LIMIT"}}})
	if !strings.HasPrefix(got, "CLAMAV_NOT_SCANNED more than is looked at") || err != nil {
		t.Error(got, err)
	}
	if bombTime > 10*time.Second {
		t.Error(bombTime)
	}
}

// Nothing but a plain OK is clean.
func TestWhateverElseClamdDoesIsNeverClean(t *testing.T) {
	answer := func(text string) func(net.Conn, int64) bool {
		return func(c net.Conn, _ int64) bool {
			_, _ = stream(c)
			_, _ = io.WriteString(c, text)
			return true
		}
	}
	for name, c := range map[string]struct {
		behave func(net.Conn, int64) bool
		want   string
	}{
		"closes at once":     {func(net.Conn, int64) bool { return true }, ""},
		"closes in the data": {func(c net.Conn, _ int64) bool { _, _ = io.CopyN(io.Discard, c, 20); return true }, ""},
		"error":              {answer("1: stream: Can't allocate memory ERROR\x00"), ""},
		"no answer":          {answer(""), ""},
		"half an answer":     {answer("1: stream: O"), ""},
		"nonsense":           {answer("HTTP/1.1 200 OK\r\n\r\n\x00"), ""},
		"OK to nobody":       {answer("OK\x00"), ""},
		"OK with a tail":     {answer("1: stream: OK FOUNDED\x00"), ""},
		"found nothing":      {answer("1: stream:  FOUND\x00"), ""},
		"endless":            {answer(strings.Repeat("x", 1<<20)), ""},
		"busy":               {answer("COMMAND READ TIMED OUT\x00"), ""},
		"too large":          {answer("INSTREAM size limit exceeded. ERROR\x00"), "CLAMAV_NOT_SCANNED message: longer than clamd's StreamMaxLength"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t)
			d.behave = c.behave
			f := newTestFilter(t, map[string]any{"addresses": []string{d.address}})
			got, err := inspect(t, f, letter+"hello\n")
			if got != c.want || (err == nil) != (c.want != "") {
				t.Errorf("%q %v, want %q", got, err, c.want)
			}
		})
	}
}

func TestAServerThatIsDownIsReplaced(t *testing.T) {
	down, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = down.Close()
	d := newDaemon(t)
	f := newTestFilter(t, map[string]any{"addresses": []string{down.Addr().String(), d.address}})
	for range 3 {
		if got, err := inspect(t, f, letter+"VIRUS:X x\n"); got != "CLAM_VIRUS X" || err != nil {
			t.Fatal(got, err)
		}
	}
	alone := newTestFilter(t, map[string]any{"addresses": []string{down.Addr().String()}})
	if got, err := inspect(t, alone, letter+"hello\n"); err == nil {
		t.Errorf("clean without a clamd: %q", got)
	}
}

// clamd closes idle connections; the scan that finds out goes on over a new one.
func TestAnIdleConnectionThatWasClosed(t *testing.T) {
	d := newDaemon(t)
	f := newTestFilter(t, map[string]any{"addresses": []string{d.address}})
	if _, err := inspect(t, f, letter+"hello\n"); err != nil {
		t.Fatal(err)
	}
	d.mu.Lock()
	d.behave = func(c net.Conn, n int64) bool { return n == 1 }
	d.mu.Unlock()
	_, _ = inspect(t, f, letter+"hello\n") // the first connection may answer once more
	if got, err := inspect(t, f, letter+"VIRUS:X x\n"); got != "CLAM_VIRUS X" || err != nil {
		t.Error(got, err)
	}
}

func TestAStalledClamdCostsItsTimeAndNoMore(t *testing.T) {
	d := newDaemon(t)
	d.behave = func(c net.Conn, _ int64) bool { _, _ = stream(c); time.Sleep(3 * time.Second); return true }
	f := newTestFilter(t, map[string]any{"addresses": []string{d.address}, "timeout": "200ms"})
	start := time.Now()
	if got, err := inspect(t, f, letter+"hello\n"); err == nil {
		t.Errorf("clean: %q", got)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestSettings(t *testing.T) {
	for want, settings := range map[string]map[string]any{
		"addresses":   {},
		"connections": {"addresses": []string{"x:1"}, "connections": 0},
		"timeout":     {"addresses": []string{"x:1"}, "timeout": "2m"},
	} {
		if _, err := Spec.New(config.NewSection("filters.clamav", settings), filters.Env{Now: time.Now}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", settings, err)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	for _, said := range []string{"1: stream: OK", "1: stream: X FOUND", "stream: OK", "INSTREAM size limit exceeded. ERROR", "1: stream:  FOUND", ": stream: OK", "1: 2: stream: OK"} {
		f.Add(said)
	}
	f.Fuzz(func(t *testing.T, said string) {
		virus, err := verdict(said)
		if err == nil && virus == "" && !strings.HasSuffix(strings.TrimRight(said, "\r\n"), "stream: OK") {
			t.Errorf("%q is clean", said)
		}
	})
}

func BenchmarkScan10KB(b *testing.B) {
	d := newDaemon(b)
	f := newTestFilter(b, map[string]any{"addresses": []string{d.address}})
	text := letter + strings.Repeat("The minutes of the meeting say that the budget was agreed.\n", 170)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := inspect(b, f, text); err != nil {
			b.Fatal(err)
		}
	}
}
