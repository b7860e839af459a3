package app_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/cmd/postern/app"
	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/lists"
	"postern/policy/records/quarantine"
	"postern/policy/reports/digest"
)

const withDigest = "[console]\nlisten = \"127.0.0.1:0\"\n[digest]\nenabled = true\nfrom = \"q@ours.test\"\nlink_base = \"https://q.ours.test\"\nhours = [3]\ntimezone = \"UTC\"\n" +
	"[digest.deputies]\n\"ann@ours.test\" = [\"boss@ours.test\"]\n"

// mailbox is the pages behind digests' links, and a clock.
type mailbox struct {
	*gate
	signer *digest.Signer
	mu     sync.Mutex
	now    time.Time
}

func openMailbox(t *testing.T) *mailbox {
	t.Helper()
	m := &mailbox{now: time.Now()}
	m.gate = openGate(t, app.Outside{Now: m.clock}, withDigest)
	key, err := os.ReadFile(filepath.Join(m.dir, "data", "digest.key"))
	if err == nil {
		m.signer, err = digest.NewSigner(key)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *mailbox) clock() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

func (m *mailbox) pass(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
}

func at(text string) mail.Address {
	local, domain, _ := strings.Cut(text, "@")
	return mail.Address{Local: local, Domain: domain}
}

const nasty = `"><script>alert(1)</script><img src=x onerror=alert(1)>` + "\x1b]0;owned\a"

func (m *mailbox) hold(id, symbol, to string) {
	m.t.Helper()
	item := quarantine.Item{ID: id, Time: m.clock(), Route: mail.RouteTo("default"), From: at("x@spam.example"), HeaderFrom: nasty + " <x@spam.example>", Subject: nasty,
		Recipients: []mail.Recipient{{Address: at(to)}}, Reasons: []policy.Reason{{Symbol: symbol, Score: 9}}}
	if err := m.app.Quarantine.Hold(m.t.Context(), item, mail.Copy{Message: mail.NewMessage([]byte("Subject: x\r\n\r\nx\r\n"))}); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mailbox) link(a digest.Action, user, box, id string) string {
	m.t.Helper()
	token, err := m.signer.Sign(digest.Claim{Action: a, User: at(user), Mailbox: at(box), Item: id, Expires: m.clock().Add(time.Hour)})
	if err != nil {
		m.t.Fatal(err)
	}
	return token
}

func (m *mailbox) open(method, token string) (*http.Response, string) {
	m.t.Helper()
	r, err := http.NewRequestWithContext(m.t.Context(), method, "http://"+m.app.ConsoleAddress()+"/q/"+token, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		m.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	return answer, string(text)
}

// state is that of the only copy of a message.
func (m *mailbox) state(id string) quarantine.State {
	m.t.Helper()
	item, err := m.app.Quarantine.Find(m.t.Context(), id)
	if err != nil {
		return quarantine.Deleted
	}
	return item.Standings[0].State
}

// A link asks for confirmation, shows text of strangers as plain text, and acts once, when its button is pressed.
func TestLinkAsksAndWorksOnce(t *testing.T) {
	t.Parallel()
	m := openMailbox(t)
	m.hold("01A", "BAYES_SPAM", "ben@ours.test")
	token := m.link(digest.Release, "ben@ours.test", "ben@ours.test", "01A")
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "GET"} {
		answer, text := m.open(method, token)
		h := answer.Header
		if method != "GET" {
			continue
		}
		if answer.StatusCode != 200 || !strings.Contains(text, `<form method="post"`) || strings.ContainsAny(text, "\x1b\a") || strings.Contains(text, "<script") || strings.Contains(text, "<img") || !strings.Contains(text, "&lt;script&gt;") {
			t.Errorf("%d %s", answer.StatusCode, text)
		}
		if h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "no-referrer" || !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%v", h)
		}
	}
	if s := m.state("01A"); s != quarantine.Held {
		t.Fatalf("looking made it %s", s)
	}
	for i, want := range []string{"on its way", "done already", "done already"} {
		if answer, text := m.open("POST", token); answer.StatusCode != 200 || !strings.Contains(text, want) {
			t.Errorf("%d: %d %s", i, answer.StatusCode, text)
		}
	}
	if _, text := m.open("GET", token); strings.Contains(text, "<form") || !strings.Contains(text, "done already") {
		t.Error(text)
	}
	for range 200 {
		if len(m.inside.Messages()) > 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if n := len(m.inside.Messages()); n != 1 {
		t.Errorf("delivered %d times", n)
	}
}

// Whatever is wrong with a link, the page is the same, and nothing is done.
func TestLinksThatDoNotHold(t *testing.T) {
	t.Parallel()
	m := openMailbox(t)
	m.hold("01A", "BAYES_SPAM", "ben@ours.test")
	m.hold("01V", "CLAM_VIRUS", "ben@ours.test")
	good := m.link(digest.Release, "ben@ours.test", "ben@ours.test", "01A")
	stranger, err := digest.NewSigner([]byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	forged, err := stranger.Sign(digest.Claim{Action: digest.Release, User: at("ben@ours.test"), Mailbox: at("ben@ours.test"), Item: "01A", Expires: m.clock().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	_, want := m.open("GET", "nonsense")
	for name, token := range map[string]string{
		"forged": forged, "cut": good[:len(good)-1], "another letter": "B" + good[1:], "long": strings.Repeat("A", 5000), "path": "..%2f..%2fetc%2fpasswd",
		"another's message": m.link(digest.Release, "eve@ours.test", "eve@ours.test", "01A"), "no deputy": m.link(digest.Release, "eve@ours.test", "ben@ours.test", "01A"),
		"no message": m.link(digest.Release, "ben@ours.test", "ben@ours.test", "01NOSUCH"), "appeal": m.link(digest.Appeal, "ben@ours.test", "ben@ours.test", "01A"),
	} {
		for _, method := range []string{"GET", "POST"} {
			if answer, text := m.open(method, token); answer.StatusCode != http.StatusNotFound || text != want {
				t.Errorf("%s, %s: %d %s", name, method, answer.StatusCode, text)
			}
		}
	}
	if _, text := m.open("POST", m.link(digest.Release, "ben@ours.test", "ben@ours.test", "01V")); !strings.Contains(text, "only an administrator") || m.state("01V") != quarantine.Held {
		t.Errorf("a virus: %s", text)
	}
	m.pass(2 * time.Hour)
	for _, method := range []string{"GET", "POST"} {
		if answer, text := m.open(method, good); answer.StatusCode != http.StatusNotFound || text != want {
			t.Errorf("expired: %d %s", answer.StatusCode, text)
		}
	}
	if s := m.state("01A"); s != quarantine.Held {
		t.Error(s)
	}
}

// The other links: to all held mail, to delete, to block; a deputy may use them for the mailbox they look after.
func TestOtherLinks(t *testing.T) {
	t.Parallel()
	m := openMailbox(t)
	m.hold("01A", "BAYES_SPAM", "boss@ours.test")
	m.hold("01B", "BAYES_SPAM", "eve@ours.test")
	m.hold("01V", "CLAM_VIRUS", "boss@ours.test")
	list := m.link(digest.List, "ann@ours.test", "boss@ours.test", "")
	_, text := m.open("GET", list)
	if n := strings.Count(text, `<a href="/q/`); n != 3 || strings.Contains(text, "<script") || strings.Contains(text, "<form") { // a virus can only be thrown away
		t.Errorf("%d links: %s", n, text)
	}
	if _, again := m.open("POST", list); again != text {
		t.Error(again)
	}
	if _, text := m.open("POST", m.link(digest.Block, "ann@ours.test", "boss@ours.test", "01A")); !strings.Contains(text, "is blocked") {
		t.Error(text)
	}
	entries, _, err := m.app.Lists.Search(t.Context(), lists.Query{})
	if err != nil || len(entries) != 1 || entries[0].List != policy.Block || entries[0].ScopeOf != "boss@ours.test" || entries[0].Owner != "ann@ours.test" {
		t.Errorf("%+v %v", entries, err)
	}
	if _, text := m.open("POST", m.link(digest.Delete, "ann@ours.test", "boss@ours.test", "01A")); !strings.Contains(text, "It is gone") || m.state("01A") != quarantine.Deleted {
		t.Error(text)
	}
	if m.state("01B") != quarantine.Held {
		t.Error("another's message is gone, too")
	}
}

// A list entry is in force within seconds, for its recipient, without a restart; its hits are counted.
func TestListsAreInForceWithoutARestart(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	say := func() int {
		c := g.dial("mx")
		code, _ := c.message("anna@friend.example", "ben@ours.test", hello)
		c.send("QUIT\r\n")
		c.ended()
		return code
	}
	if code := say(); code != 250 {
		t.Fatal(code)
	}
	e, err := g.app.Lists.Add(t.Context(), lists.Entry{List: policy.Block, Scope: lists.User, ScopeOf: "ben@ours.test", Sender: "anna@friend.example"})
	if err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(30 * time.Second)
	for say() == 250 && len(g.inside.Messages()) > 0 && g.held() == 0 {
		if time.Now().After(until) {
			t.Fatal("the entry never holds")
		}
		time.Sleep(500 * time.Millisecond)
	}
	for {
		found, err := g.app.Lists.Find(t.Context(), e.ID)
		if err != nil {
			t.Fatal(err)
		}
		if found.Hits > 0 {
			break
		}
		if time.Now().After(until) {
			t.Fatal("its hits are not counted")
		}
		say()
		time.Sleep(500 * time.Millisecond)
	}
}
