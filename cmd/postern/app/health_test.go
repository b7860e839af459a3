package app_test

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/cmd/postern/app"
	"postern/proxy/health"
)

// mode is how a server of the outside world behaves.
type mode string

const (
	well     mode = "well"
	killed   mode = "killed" // connection refused
	hung     mode = "hung"   // it accepts connections and sends nothing
	dragging mode = "slow"   // it answers late
	wrong    mode = "wrong"  // it sends garbage
)

// world is a server whose behaviour can be changed while it runs. It keeps its address.
type world struct {
	t       *testing.T
	address string
	talk    func(net.Conn, *bufio.Reader)
	// upstream, if set, is a real server behind this one.
	upstream string
	// late is its delay when it is slow.
	late time.Duration

	mu       sync.Mutex
	mode     mode
	listener net.Listener
	conns    []net.Conn
}

func newWorld(t *testing.T, talk func(net.Conn, *bufio.Reader)) *world {
	t.Helper()
	w := &world{t: t, address: "127.0.0.1:0", talk: talk, late: 1500 * time.Millisecond}
	w.set(well)
	t.Cleanup(func() { w.set(killed) })
	return w
}

func (w *world) set(m mode) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mode = m
	if m == well || m == killed || m == wrong { // else existing connections become slow, or hang
		for _, c := range w.conns {
			_ = c.Close()
		}
		w.conns = nil
	}
	if m == killed {
		if w.listener != nil { // when a test ends with it killed
			_ = w.listener.Close()
		}
		w.listener = nil
		return
	}
	if w.listener != nil {
		return
	}
	l, err := net.Listen("tcp", w.address)
	if err != nil {
		w.t.Error(err)
		return
	}
	w.listener, w.address = l, l.Addr().String()
	go w.serve(l)
}

func (w *world) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		w.mu.Lock()
		m := w.mode
		w.conns = append(w.conns, c)
		w.mu.Unlock()
		switch {
		case m != wrong && w.upstream != "":
			go w.forward(c)
		case m == well || m == dragging:
			go func() {
				defer c.Close()
				if m == dragging {
					time.Sleep(w.late)
				}
				w.talk(c, bufio.NewReader(c))
			}()
		case m == wrong:
			go func() {
				defer c.Close()
				_, _ = io.WriteString(c, "what do you want\x00\r\n\r\n")
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}
}

// newStand makes a stand in front of a real server.
func newStand(t *testing.T, upstream string) *world {
	t.Helper()
	w := &world{t: t, address: "127.0.0.1:0", upstream: upstream, late: 1500 * time.Millisecond}
	w.set(well)
	t.Cleanup(func() { w.set(killed) })
	return w
}

func (w *world) current() mode {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mode
}

// forward passes octets on, the server's with the delay of the mode.
func (w *world) forward(c net.Conn) {
	up, err := net.Dial("tcp", w.upstream)
	if err != nil {
		_ = c.Close()
		return
	}
	go func() {
		_, _ = io.Copy(up, c)
		_ = up.Close()
	}()
	defer c.Close()
	defer up.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := up.Read(buf)
		for w.current() == hung {
			time.Sleep(20 * time.Millisecond)
		}
		if w.current() == dragging {
			time.Sleep(w.late)
		}
		if _, failed := c.Write(buf[:n]); failed != nil || err != nil {
			return
		}
	}
}

// clamd finds nothing in anything.
func clamd(c net.Conn, in *bufio.Reader) {
	n := 0
	for {
		word, err := in.ReadString(0)
		if err != nil {
			return
		}
		switch word {
		case "zPING\x00":
			_, _ = io.WriteString(c, "PONG\x00")
			return
		case "zINSTREAM\x00":
			n++
			for {
				var size uint32
				if binary.Read(in, binary.BigEndian, &size) != nil {
					return
				}
				if size == 0 {
					break
				}
				if _, err := io.CopyN(io.Discard, in, int64(size)); err != nil {
					return
				}
			}
			fmt.Fprintf(c, "%d: stream: OK\x00", n)
		}
	}
}

// web answers each request over HTTP or ICAP with a text.
func answering(text string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, in *bufio.Reader) {
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			if line == "\r\n" {
				_, _ = io.WriteString(c, text)
				return
			}
		}
	}
}

// rspamd answers a ping, and finds every message good.
func rspamd(c net.Conn, in *bufio.Reader) {
	first, err := in.ReadString('\n')
	if err != nil {
		return
	}
	body := "pong\r\n"
	if !strings.HasPrefix(first, "GET /ping") {
		body = `{"score":0.1,"required_score":15,"action":"no action"}`
	}
	answering(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body))(c, in)
}

// icapd says of each message that nothing need be changed.
func icapd(c net.Conn, in *bufio.Reader) {
	first, err := in.ReadString('\n')
	if err != nil {
		return
	}
	answer := "ICAP/1.0 204 No Content\r\n\r\n"
	if strings.HasPrefix(first, "OPTIONS") {
		answer = "ICAP/1.0 200 OK\r\nMethods: RESPMOD\r\n\r\n"
	}
	answering(answer)(c, in)
}

// watched is a gateway that depends on a scanner.
type watched struct {
	*gate
	told    *hooks
	metrics string
}

func newWatched(t *testing.T, more string) *watched {
	t.Helper()
	return newWatchedWith(t, app.Outside{}, more)
}

func newWatchedWith(t *testing.T, out app.Outside, more ...string) *watched {
	t.Helper()
	told := &hooks{}
	chat := httptest.NewServer(told)
	t.Cleanup(chat.Close)
	metrics := freeAddress(t)
	g := openWatchedGate(t, out, append(more, "[alerts]\nwebhook = \""+chat.URL+"\"\n[metrics]\nlisten = \""+metrics+"\"\n[filters.greylist]\nenabled = false\n")...)
	return &watched{g, told, metrics}
}

func (w *watched) send() (int, string) {
	c := w.dial("mx")
	defer c.conn.Close()
	return c.message("anna@friend.example", "ben@ours.test", hello)
}

// soon expects something within the documented ten seconds. On a machine that is busy with other tests it may take
// longer; the log says how long.
func (w *watched) soon(what string, yes func() bool) {
	w.t.Helper()
	begun := time.Now()
	until(w.t, what, yes)
	w.t.Logf("%s: after %.1f s", what, time.Since(begun).Seconds())
}

func (w *watched) metric(line string) bool {
	return strings.Contains(get(w.t, "http://"+w.metrics+"/metrics"), line+"\n")
}

// outage is a dependency whose behaviour can be changed.
type outage interface{ set(mode) }

// row reads the health table's row, and whether there is trouble, at /healthz and /readyz.
func (w *watched) row(kind, name string) (found health.Dependency, degraded bool) {
	w.t.Helper()
	for _, path := range []string{"/healthz", "/readyz"} {
		var all struct {
			Status       string
			Dependencies []health.Dependency
		}
		if err := json.Unmarshal([]byte(get(w.t, "http://"+w.metrics+path)), &all); err != nil {
			w.t.Fatal(err)
		}
		i := slices.IndexFunc(all.Dependencies, func(d health.Dependency) bool { return d.Kind == kind && d.Name == name })
		if i < 0 {
			w.t.Fatalf("%s has no row for %s %s: %+v", path, kind, name, all.Dependencies)
		}
		found, degraded = all.Dependencies[i], all.Status == "degraded"
	}
	return found, degraded
}

// goesWrong checks that trouble is reported everywhere, and that its end is.
func (w *watched) goesWrong(server outage, m mode, kind, name string, meanwhile func(m mode)) {
	w.t.Helper()
	trouble := map[string]string{"redis": "state", "database": "ledger"}[kind]
	if trouble == "" {
		trouble = kind
	}
	want := map[mode]health.Standing{dragging: health.Slow}[m]
	if want == "" {
		want = health.Away
	}
	w.told.forget()
	server.set(m)
	w.soon(kind+" "+name+" is "+string(m)+": the webhook hears of it", func() bool { return w.told.toldAs(trouble, string(want)) })
	label := `{kind="` + kind + `",name="` + name + `"} `
	up := map[health.Standing]string{health.Slow: "1", health.Away: "0"}[want]
	late := map[health.Standing]string{health.Slow: "1", health.Away: "0"}[want]
	w.soon("its row shows it", func() bool {
		d, degraded := w.row(kind, name)
		return degraded && d.State == want && d.Up == (want == health.Slow) && d.Why != "" && !d.Since.IsZero()
	})
	w.soon("the metrics show it", func() bool {
		return w.metric("postern_dependency_up"+label+up) && w.metric("postern_dependency_slow"+label+late) && !w.metric(`postern_troubles{kind="`+trouble+`"} 0`)
	})
	meanwhile(m)
	server.set(well)
	w.soon(name+" is back: the webhook hears of it", func() bool { return w.told.told(trouble, true) })
	w.soon("its row shows that it is back", func() bool { d, _ := w.row(kind, name); return d.State == health.Up })
	w.soon("the metrics show that it is back", func() bool {
		return w.metric("postern_dependency_up"+label+"1") && w.metric("postern_dependency_slow"+label+"0")
	})
	if code, text := w.send(); kind == "filter" && code != 250 {
		w.t.Errorf("%s is back: %d %s", name, code, text)
	}
}

// An unavailable scanner is noticed within ten seconds, whatever is wrong with it. Mail is judged at once without a
// scanner that is not required, and says so; it is deferred for one that is.
func TestScannersGoAway(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]struct {
		talk     func(net.Conn, *bufio.Reader)
		settings string
	}{
		"clamav": {clamd, "addresses = [\"ADDRESS\"]"},
		"rspamd": {rspamd, "url = \"http://ADDRESS\""},
		"icap":   {icapd, "url = \"icap://ADDRESS/avscan\""},
	} {
		for _, required := range []bool{false, true} {
			if required == (name == "rspamd") {
				continue // the modes are tested with the table, not the filter: one test of both shows that the ping is right
			}
			t.Run(fmt.Sprint(name, " required ", required), func(t *testing.T) {
				t.Parallel()
				server := newWorld(t, s.talk)
				settings := strings.ReplaceAll(s.settings, "ADDRESS", server.address)
				w := newWatched(t, fmt.Sprintf("[filters.%s]\nenabled = true\nrequired = %v\n%s\n", name, required, settings))
				if code, text := w.send(); code != 250 {
					t.Fatalf("%d %s", code, text)
				}
				for _, m := range []mode{killed, hung, dragging, wrong} {
					w.goesWrong(server, m, "filter", name, func(m mode) {
						begun := time.Now()
						code, text := w.send()
						if want := map[bool]int{false: 250, true: 451}[required && m != dragging]; code != want || time.Since(begun) > 5*time.Second {
							t.Errorf("%s: %d %s after %s, want %d", m, code, text, time.Since(begun), want)
						}
						if required || m == dragging {
							return
						}
						all := w.inside.Messages()
						if last := all[len(all)-1]; !strings.Contains(string(last.Data), "X-Postern-Note: judged without "+name) {
							t.Errorf("%s: the message does not say that it was judged without %s:\n%s", m, name, last.Data)
						}
					})
				}
			})
		}
	}
}

// A program of the admin that is missing, and a next hop.
func TestOthersGoAway(t *testing.T) {
	t.Parallel()
	t.Run("hop", func(t *testing.T) {
		t.Parallel()
		server := newWorld(t, func(c net.Conn, in *bufio.Reader) {
			_, _ = io.WriteString(c, "220 here\r\n")
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				answer := "250 fine\r\n"
				if strings.HasPrefix(line, "QUIT") {
					answer = "221 bye\r\n"
				}
				_, _ = io.WriteString(c, answer)
			}
		})
		w := newWatched(t, "[next_hop.\"ours.test\"]\naddresses = [\""+server.address+"\"]\ntls = \"none\"\n")
		for _, m := range []mode{killed, hung, dragging, wrong} {
			w.goesWrong(server, m, "hop", "ours.test "+server.address, func(mode) {})
		}
	})
	t.Run("command", func(t *testing.T) {
		t.Parallel()
		program := filepath.Join(t.TempDir(), "scan")
		write := func() {
			if err := os.WriteFile(program, []byte("#!/bin/sh\nexec cat >/dev/null\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		write()
		w := newWatched(t, "[filters.command]\nenabled = true\ncommand = [\""+program+"\"]\nuser = \"root\"\n")
		if err := os.Remove(program); err != nil {
			t.Fatal(err)
		}
		w.soon("the webhook hears of the program", func() bool { return w.told.told("filter", false) })
		if code, text := w.send(); code != 250 {
			t.Errorf("%d %s", code, text)
		}
		write()
		w.soon("the webhook hears that it is back", func() bool { return w.told.told("filter", true) })
	})
}
