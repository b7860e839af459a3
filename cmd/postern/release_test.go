package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/jhillyerd/enmime/v2"

	"postern/cmd/postern/app"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/testing/hoptest"
	"postern/policy/records/lists"
	"postern/policy/records/quarantine"
)

// desk is a gateway that holds a signed message, with all ways to release it.
type desk struct {
	t      *testing.T
	app    *app.App
	hop    *hoptest.Hop
	file   string // postern.toml
	token  string // an admin's
	public string // the key's record
	id     string // of the held message
	octets []byte // as it is held
	link   string // the digest's first link, behind the site
}

const mildPolicy, strictPolicy = "[thresholds]\ntag = 2\nquarantine = 6\n", "[thresholds]\ntag = 2\nquarantine = 3\n"

const site = "https://quarantine.corp.test"

func openDesk(t *testing.T) *desk { return openDeskWith(t, "") }

// openDeskWith takes more settings, first those of [console]. A password for it is in the file "password".
func openDeskWith(t *testing.T, more string) *desk {
	t.Helper()
	d := &desk{t: t, hop: hoptest.New(t, hoptest.Options{})}
	dir := t.TempDir()
	d.file = filepath.Join(dir, "postern.toml")
	text := "hostname = \"mx.corp.test\"\ndata_dir = \"data\"\ndomains = [\"corp.test\"]\n[[door]]\nlisten = \"127.0.0.1:0\"\n[next_hop.\"default\"]\naddresses = [\"" + d.hop.Addr() +
		"\"]\ntls = \"none\"\n[dns]\nservers = [\"127.0.0.1:9\"]\ntimeout = \"200ms\"\n[console]\nlisten = \"127.0.0.1:0\"\n" + more + "[digest]\nenabled = true\nfrom = \"q@corp.test\"\nlink_base = \"" + site + "\"\nhours = [3]\n[policy]\nfile = \"policy.toml\"\n"
	d.check(os.WriteFile(filepath.Join(dir, "policy.toml"), []byte(mildPolicy), 0o600))
	d.check(os.WriteFile(filepath.Join(dir, "password"), []byte("secret\n"), 0o600))
	d.check(os.WriteFile(d.file, []byte(text), 0o600))
	cfg, err := config.Load(d.file)
	d.check(err)
	if problems := cfg.Check(app.KnownFilters()); len(problems) > 0 {
		t.Fatal(problems)
	}
	d.app, err = app.Open(cfg, app.Outside{Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	d.check(err)
	t.Cleanup(d.app.Close)
	d.app.Reloader(func() (*config.Config, error) {
		again, err := config.Load(d.file)
		if err == nil && len(again.Check(app.KnownFilters())) > 0 {
			t.Error("the settings are not as they were")
		}
		return again, err
	})
	d.check(d.app.Listen(t.Context()))
	d.token = strings.TrimSpace(d.run("token", "add", "storm", "--role", "admin"))
	d.send()
	return d
}

func (d *desk) check(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// run runs the program beside the gateway, which must end well.
func (d *desk) run(args ...string) string {
	d.t.Helper()
	out, err := exec.CommandContext(d.t.Context(), "postern", append(args, "-c", d.file)...).CombinedOutput()
	if err != nil {
		d.t.Fatalf("postern %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// send sends a signed message that is held.
func (d *desk) send() {
	d.t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	d.check(err)
	d.public = "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public)
	fraud := head + "Message-ID: <2@friend.example>\r\nSubject: URGENT BUSINESS PROPOSAL\r\n\r\nI am Barrister John. The sum of USD 18,500,000.00 " +
		"(eighteen million five hundred thousand United States Dollars) of a late customer who died in a plane crash without next of kin.\r\n" +
		"You get 40 percent of the total sum. Strictly confidential, 100% risk free. Send your bank account.\r\n"
	var signed bytes.Buffer
	d.check(dkim.Sign(&signed, strings.NewReader(fraud), &dkim.SignOptions{Domain: "friend.example", Selector: "s", Signer: private, HeaderKeys: []string{"From", "To", "Subject", "Message-ID"}}))
	conn := dialDoor(d.t, d.app.Addresses()[0].Address)
	for _, line := range []string{"", "EHLO mail.friend.example", "MAIL FROM:<anna@friend.example>", "RCPT TO:<ben@corp.test>", "DATA", signed.String() + "."} {
		if line != "" {
			d.check(conn.PrintfLine("%s", line))
		}
		if code, words, err := conn.ReadResponse(0); err != nil || code >= 400 {
			d.t.Fatal(line, code, words, err)
		}
	}
	items, err := d.app.Quarantine.List(d.t.Context(), quarantine.Filter{})
	d.check(err)
	if len(items) != 1 {
		d.t.Fatalf("held: %+v", items)
	}
	d.id = items[0].ID
	var octets bytes.Buffer
	d.check(d.app.Quarantine.Export(d.t.Context(), d.id, &octets))
	d.octets = octets.Bytes()
}

// digest has a digest sent, and takes the first link out of it.
func (d *desk) digest() {
	d.t.Helper()
	d.run("digest", "send", "--user", "ben@corp.test")
	for range 300 {
		for _, m := range d.hop.Messages() {
			e, err := enmime.ReadEnvelope(bytes.NewReader(m.Data))
			d.check(err)
			if found := regexp.MustCompile(regexp.QuoteMeta(site) + `(/q/[\w-]+)`).FindStringSubmatch(e.Text); found != nil {
				d.link = found[1]
				d.hop.Forget()
				return
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	d.t.Fatal("no digest came")
}

// ask asks the console.
func (d *desk) ask(method, path, body string) (int, string) {
	r, err := http.NewRequestWithContext(d.t.Context(), method, "http://"+d.app.ConsoleAddress()+path, strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	if strings.HasPrefix(path, "/api") {
		r.Header.Set("Authorization", "Bearer "+d.token)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text)
}

// dialDoor connects to the gateway's door.
func dialDoor(t *testing.T, address string) *textproto.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return textproto.NewConn(conn)
}

// Twenty people click at once, in mails, in programs and at the command line, while scanners follow every link: the message
// is delivered once, as it was held, and its signature verifies.
func TestReleasedOnceWhoeverAsks(t *testing.T) {
	d := openDesk(t)
	d.digest()
	scan := func() {
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "GET"} {
			d.ask(method, d.link, "")
		}
	}
	for range 10 {
		scan()
	}
	if item, err := d.app.Quarantine.Find(t.Context(), d.id); err != nil || item.State != quarantine.Held {
		t.Fatalf("a scanner has released it: %v %v", item.State, err)
	}
	var all, scanners sync.WaitGroup
	var byAPI, byLink, byCLI atomic.Int64
	stop := make(chan struct{})
	for range 4 {
		scanners.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					scan()
				}
			}
		})
	}
	for range 8 {
		all.Go(func() {
			switch code, text := d.ask("POST", "/api/v1/quarantine/"+d.id+"/release", "{}"); code {
			case http.StatusOK:
				byAPI.Add(1)
			case http.StatusConflict:
			default:
				t.Errorf("API: %d %s", code, text)
			}
		})
		all.Go(func() {
			switch code, text := d.ask("POST", d.link, ""); {
			case code == http.StatusOK && strings.Contains(text, "on its way"):
				byLink.Add(1)
			case code != http.StatusOK || !strings.Contains(text, "done already"):
				t.Errorf("link: %d %s", code, text)
			}
		})
	}
	for range 4 {
		all.Go(func() {
			out, err := exec.CommandContext(t.Context(), "postern", "quarantine", "release", "-c", d.file, d.id).CombinedOutput()
			if err == nil {
				byCLI.Add(1)
			} else if !strings.Contains(string(out), "somebody else has released") {
				t.Errorf("command line: %v %s", err, out)
			}
		})
	}
	all.Wait()
	close(stop)
	scanners.Wait()
	if n := byAPI.Load() + byLink.Load() + byCLI.Load(); n != 1 {
		t.Errorf("%d were told that they released it: API %d, link %d, command line %d", n, byAPI.Load(), byLink.Load(), byCLI.Load())
	}
	d.deliveredOnce()
	if out := d.run("audit"); !strings.Contains(out, "release") {
		t.Errorf("not noted:\n%s", out)
	}
}

func (d *desk) deliveredOnce() {
	d.t.Helper()
	for range 300 {
		if len(d.hop.Messages()) > 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(3 * time.Second) // for a second one
	got := d.hop.Messages()
	if len(got) != 1 {
		d.t.Fatalf("delivered %d times", len(got))
	}
	if !bytes.Equal(got[0].Data, d.octets) {
		d.t.Errorf("delivered %q\nheld %q", got[0].Data, d.octets)
	}
	if !bytes.Contains(got[0].Data, []byte("Received: from ")) {
		d.t.Error("without its trace")
	}
	found, err := dkim.VerifyWithOptions(bytes.NewReader(got[0].Data), &dkim.VerifyOptions{LookupTXT: func(string) ([]string, error) { return []string{d.public}, nil }})
	if err != nil || len(found) != 1 || found[0].Err != nil {
		d.t.Errorf("the signature: %+v %v", found, err)
	}
}

// What a release allows is a list's entry for that recipient, bound to authentication, and in force without a restart; the
// release is a lesson.
func TestReleaseAllowsAndTeaches(t *testing.T) {
	d := openDesk(t)
	before, _ := d.ask("GET", "/api/v1/policy", "")
	code, text := d.ask("POST", "/api/v1/quarantine/"+d.id+"/release", `{"allow":true}`)
	if code != http.StatusOK || before != http.StatusOK || !strings.Contains(text, `"learned":true`) || !strings.Contains(text, `"allowed":["`) {
		t.Fatal(code, text)
	}
	d.deliveredOnce()
	entries, _, err := d.app.Lists.Search(t.Context(), lists.Query{})
	if err != nil || len(entries) != 1 || entries[0].Sender != "anna@friend.example" || entries[0].ScopeOf != "ben@corp.test" || entries[0].Unauthenticated {
		t.Errorf("%+v %v", entries, err)
	}
	if out := d.run("lists", "list"); !strings.Contains(out, "anna@friend.example") {
		t.Error(out)
	}
	if out := d.run("learn", "list"); !strings.Contains(out, "release") {
		t.Error(out)
	}
	if code, text := d.ask("GET", "/api/v1/quarantine?state=released", ""); code != 200 || !strings.Contains(text, `"by":"storm"`) {
		t.Error(code, text)
	}
}

// A message is sent for analysis, independently of the recipients' copies.
func TestReleaseToAnother(t *testing.T) {
	d := openDesk(t)
	d.run("quarantine", "release", "--to", "lab@corp.test", d.id)
	d.deliveredOnce()
	if m := d.hop.Messages()[0]; !slices.ContainsFunc(m.To, func(r string) bool { return strings.Contains(r, "lab@corp.test") }) {
		t.Errorf("%v", m.To)
	}
	item, err := d.app.Quarantine.Find(context.Background(), d.id)
	held, _ := item.HeldFor([]mail.Address{{Local: "ben", Domain: "corp.test"}})
	if err != nil || len(held) != 1 {
		t.Errorf("%+v %v", item, err)
	}
	if code, text := d.ask("POST", "/api/v1/quarantine/"+d.id+"/release", `{"to":"x@elsewhere.example"}`); code != http.StatusBadRequest || !strings.Contains(text, "no next hop") {
		t.Error(code, text)
	}
}

// The life of a policy over the network: planned, applied, tried, rolled back; what is in force is what was applied last.
func TestPolicyOverTheInterface(t *testing.T) {
	d := openDesk(t)
	draft := func(text string, more string) string {
		quoted, err := json.Marshal(text)
		d.check(err)
		return `{"text":` + string(quoted) + more + `}`
	}
	for _, step := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"GET", "/policy", "", 200, "quarantine = 6"}, {"POST", "/policy/plan", draft(strictPolicy, ""), 200, `"messages":1`}, {"POST", "/policy/plan", draft("[thresholds]\nodd = 1\n", ""), 400, "draft:2"},
		{"POST", "/policy/apply", draft("[thresholds]\nodd = 1\n", ""), 400, "draft:2"}, {"GET", "/policy", "", 200, "quarantine = 6"},
		{"POST", "/policy/apply", draft(strictPolicy, `,"note":"a test"`), 200, "version"}, {"GET", "/policy", "", 200, "quarantine = 3"}, {"GET", "/policy/versions", "", 200, "a test"}, {"GET", "/policy/versions/2", "", 200, "quarantine = 3"},
		{"POST", "/policy/trial", draft(mildPolicy, `,"share":50`), 200, "version"}, {"GET", "/policy/trial", "", 200, `"share":50`}, {"DELETE", "/policy/trial", "", 204, ""}, {"DELETE", "/policy/trial", "", 404, ""},
		{"POST", "/policy/rollback", "{}", 200, "version"}, {"GET", "/policy", "", 200, "quarantine = 6"}, {"GET", "/audit", "", 200, "POST /policy/apply"},
	} {
		if code, text := d.ask(step.method, "/api/v1"+step.path, step.body); code != step.code || !strings.Contains(text, step.want) {
			t.Errorf("%s %s: %d %s", step.method, step.path, code, text)
		}
	}
	if version := d.run("policy", "show"); !strings.Contains(version, "quarantine = 6") {
		t.Error(version)
	}
}
