package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/proxy"
	"postern/proxy/health"
)

// alertTimeout bounds one webhook.
const alertTimeout = 10 * time.Second

// alert sends one alert on all ways that are set.
func (a *App) alert(ctx context.Context, t health.Trouble, over bool) error {
	state := "begins"
	if over {
		state = "is over"
	}
	a.out.Log.Warn("trouble "+state, "kind", t.Kind, "subject", t.Subject, "text", t.Text)
	to := a.cfg.Alerts
	var err error
	if to.Webhook != "" {
		err = a.webhook(ctx, to.Webhook, t, over)
	}
	if to.MailTo != "" {
		err = errors.Join(err, a.alertMail(ctx, t, state))
	}
	return err
}

// webhook posts the alert as JSON. "text" is what chat programs show.
func (a *App) webhook(ctx context.Context, to string, t health.Trouble, over bool) error {
	ctx, cancel := context.WithTimeout(ctx, alertTimeout)
	defer cancel()
	text := a.cfg.Hostname + ": " + t.Text
	if over {
		text = a.cfg.Hostname + ": over: " + t.Text
	}
	body, err := json.Marshal(struct {
		Text string `json:"text"`
		Host string `json:"host"`
		Over bool   `json:"over"`
		health.Trouble
	}{text, a.cfg.Hostname, over, t})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return errors.New("alerts.webhook is not a URL")
	}
	r.Header.Set("Content-Type", "application/json")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	reply, err := client.Do(r)
	if err != nil { // without the URL, which may hold a secret
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return fmt.Errorf("webhook: %w", err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(reply.Body, 1<<16)) // its body is ignored
	_ = reply.Body.Close()
	if reply.StatusCode/100 != 2 {
		return fmt.Errorf("webhook: it answers %d", reply.StatusCode)
	}
	return nil
}

// alertMail is sent straight to the next hop of the recipient's domain, unjudged.
func (a *App) alertMail(ctx context.Context, t health.Trouble, state string) error {
	to, err := mail.ParseAddress(a.cfg.Alerts.MailTo)
	if err != nil {
		return fmt.Errorf("alerts.mail_to: %w", err)
	}
	route := outboundRoute()
	if a.cfg.Local(to.ASCIIDomain()) {
		route = a.cfg.Route(to.ASCIIDomain())
	}
	now := a.out.Now()
	id := mail.NewID(now)
	subject := fmt.Sprintf("[Postern] %s: trouble with %s %s", a.cfg.Hostname, t.Kind, state)
	text := fmt.Appendf(nil, "From: Postern <postmaster@%s>\r\nTo: <%s>\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%s@%s>\r\nAuto-Submitted: auto-generated\r\n"+
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nTrouble %s on %s:\r\n\r\n  %s\r\n\r\nSee http://%s/healthz on the metrics address, or postern queue list.\r\n",
		a.cfg.Hostname, to, subject, now.Format(time.RFC1123Z), id, a.cfg.Hostname, state, a.cfg.Hostname, strings.Map(printable, t.Text), a.cfg.Metrics.Listen)
	item := proxy.QueueItem{ID: id, Route: route, Recipients: []mail.Recipient{{Address: to}}, Why: "alert"}
	return a.Queue.Put(ctx, item, mail.Copy{Message: mail.NewMessage(text)})
}

// printable makes text safe for one line of a mail.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return ' '
	}
	return r
}

// watch looks for trouble.
func (a *App) watch(ctx context.Context) {
	a.lookAtFrozen(ctx)
	if err := a.alarm.Look(ctx, a.Troubles()); err != nil {
		a.out.Log.Error("alert", "error", err)
	}
}

// health answers whether the program is alive, and whether it is ready to serve.
func (a *App) health(w http.ResponseWriter, r *http.Request) {
	answer := struct {
		Status       string              `json:"status"`
		Troubles     []health.Trouble    `json:"troubles"`
		Dependencies []health.Dependency `json:"dependencies"`
	}{"ok", a.Troubles(), a.Dependencies()}
	code := http.StatusOK
	if len(answer.Troubles) > 0 {
		answer.Status = "degraded"
	}
	if r.URL.Path == "/readyz" && !a.ready.Load() {
		answer.Status, code = "not ready", http.StatusServiceUnavailable
	}
	if answer.Troubles == nil {
		answer.Troubles = []health.Trouble{}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer) // a client that went away
}
