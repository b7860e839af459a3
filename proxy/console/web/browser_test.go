package web

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdpage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"postern/internal/testing/lab"
	"postern/proxy/console/api"
)

// chromium is a real browser that notes all that goes wrong in it.
type chromium struct {
	t   *testing.T
	ctx context.Context
	url string

	mu    sync.Mutex
	wrong []string
}

func newChromium(t *testing.T, url string) *chromium {
	t.Helper()
	program := lab.Need(t, "chromium", "chromium")
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU)
	allocated, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocated)
	t.Cleanup(cancel)
	c := &chromium{t: t, ctx: ctx, url: url}
	if err := chromedp.Do(ctx, set(network.Enable, network.EnableParams{}), set(log.Enable, cdp.Empty{}), set(runtime.Enable, cdp.Empty{}), set(cdpage.Enable, cdpage.EnableParams{})); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Listen(ctx, c.hear); err != nil {
		t.Fatal(err)
	}

	return c
}

// set is a command of the browser's protocol as a step.
func set[P, R any](command cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, command, params)
		return err
	})
}

func (c *chromium) hear(event any) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		c.note("a script failed: %s", e.ExceptionDetails.Text)
	case *log.EventEntryAdded: // refused by the content security policy, or not loaded
		if e.Entry.Level == "error" && !strings.Contains(e.Entry.URL, "favicon") {
			c.note("%s %s", e.Entry.Text, e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, c.url) && !strings.HasPrefix(e.Request.URL, "about:") {
			c.note("asks for %s", e.Request.URL)
		}
	case *cdpage.EventJavascriptDialogOpening:
		c.note("a sender's script ran: %s", e.Message)
	}
}

func (c *chromium) note(format string, values ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong = append(c.wrong, fmt.Sprintf(format, values...))
}

func (c *chromium) run(what string, steps ...chromedp.Action[chromedp.Void]) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, wrong := range c.wrong {
		c.t.Errorf("%s: %s", what, wrong)
	}
	c.wrong = nil
}

// ask gives a value of the page.
func ask[T any](c *chromium, what chromedp.Action[T]) T {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, time.Minute)
	defer cancel()
	value, err := chromedp.Run(ctx, what)
	if err != nil {
		c.t.Fatal(err)
	}

	return value
}

// signIn begins a session as a user does it, with the form.
func (c *chromium) signIn(secret string) {
	c.t.Helper()
	c.run("sign in", chromedp.EmulateViewport(1280, 900), chromedp.Navigate(c.url+"/signin"), chromedp.SendKeys("input[name=secret]", secret), chromedp.Submit("form"), chromedp.WaitVisible(".side nav"))
}

// fits holds if nothing stands out to the right of the window.
const fits = `document.documentElement.scrollWidth <= window.innerWidth + 1`

// Every page in a real browser, as every role, on a screen and on a phone, by day and by night: whatever senders wrote, no script of
// theirs runs, nothing is asked for elsewhere, nothing is refused by the content security policy, and the page is as wide as the window.
func TestPagesInChromium(t *testing.T) {
	b := newBrowser(t, "right")
	b.now = time.Now()
	server := httptest.NewServer(b.handler)
	t.Cleanup(server.Close)
	c := newChromium(t, server.URL)
	for _, role := range api.Roles() {
		c.signIn("token of " + string(role))
		for i, path := range pages() {
			night := "light"
			if i%2 == 1 {
				night = "dark"
			}
			c.run(string(role)+" "+path, set(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: night}}}),
				chromedp.EmulateViewport(1280, 900), chromedp.Navigate(server.URL+path))
			heading, wide := ask(c, chromedp.Text("h1")), ask(c, chromedp.Evaluate[bool](fits))
			c.run("phone", chromedp.EmulateViewport(390, 844))
			narrow := ask(c, chromedp.Evaluate[bool](fits))
			c.accessible(string(role) + " " + path)
			if heading == "" || !wide || !narrow {
				t.Errorf("%s as %s: heading %q; fits 1280 px: %v, 390 px: %v", path, role, heading, wide, narrow)
			}
		}
	}
}

// accessible has axe-core look at the page, whose script (npm install axe-core) POSTERN_AXE names: nothing serious may be wrong.
func (c *chromium) accessible(what string) {
	c.t.Helper()
	file := os.Getenv("POSTERN_AXE")
	if file == "" {
		return
	}
	script, err := os.ReadFile(file)
	if err != nil {
		c.t.Fatal(err)
	}
	ask(c, chromedp.Evaluate[bool](string(script)+"; true"))
	found := ask(c, chromedp.Evaluate[[]string](`axe.run().then(r => r.violations.filter(v => v.impact === "serious" || v.impact === "critical").map(v => v.id + ": " + v.help + " " + v.nodes[0].html))`,
		func(p *runtime.EvaluateParams) { p.AwaitPromise = new(true) }))
	for _, one := range found {
		c.t.Errorf("%s: %s", what, one)
	}
}

// How many steps an admin takes from the first page on: why a message did not come, to release it and let its sender in.
func TestSteps(t *testing.T) {
	b := newBrowser(t, "right")
	b.now = time.Now()
	server := httptest.NewServer(b.handler)
	t.Cleanup(server.Close)
	c := newChromium(t, server.URL)
	c.signIn("token of admin")
	c.run("why did this mail not come", chromedp.Click(`.side nav a[href="/messages"]`), chromedp.WaitVisible("input[type=search]"),
		chromedp.SendKeys("input[type=search]", "from:shop.example\r"), chromedp.WaitVisible(".list a.title"),
		chromedp.Click(".list a.title"), chromedp.WaitVisible(".reasons"))
	if why := ask(c, chromedp.Text(".reasons")); !strings.Contains(why, "+8.0") {
		t.Errorf("the page says %q", why)
	}
	c.run("release it and allow the sender", chromedp.Click(`a.button[href^="/quarantine/"]`), chromedp.WaitVisible(`button[value=allow]`), chromedp.Click(`button[value=allow]`), chromedp.WaitVisible(".done"))
	if !b.plane.was("admin POST /quarantine/01M1-1/release") {
		t.Errorf("nothing was released: %v", b.plane.asked)
	}
}
