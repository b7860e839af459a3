package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"postern/cmd/postern/app"
	"postern/policy/records/ledger"
	"postern/proxy/console"
	"postern/proxy/health"
)

// statusCommand prints the health of the running gateway: /healthz as text.
type statusCommand struct {
	where
	output
}

// status is the gateway's own report.
type status struct {
	Status       string              `json:"status"`
	Troubles     []health.Trouble    `json:"troubles"`
	Dependencies []health.Dependency `json:"dependencies"`
}

// Run prints the table of what the gateway depends on. Anything that is wrong is the answer no.
func (c *statusCommand) Run(w world) error {
	cfg, err := c.read()
	if err != nil {
		return err
	}
	if err := enter(cfg.DataDir, app.ControlSocket(cfg)); err != nil {
		return errors.New("no gateway is running with this configuration")
	}

	r, err := http.NewRequestWithContext(w.ctx, http.MethodGet, "http://postern/healthz", nil)
	if err != nil {
		return err
	}
	answer, err := console.Client(app.ControlSocket(cfg)).Do(r)
	if err != nil {
		return errors.New("no gateway is running with this configuration")
	}
	defer answer.Body.Close()

	text, err := io.ReadAll(io.LimitReader(answer.Body, maxControlAnswer))
	if err != nil {
		return err
	}
	var s status
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("the gateway's answer can't be read: %w", err)
	}
	if c.JSON {
		_, err = w.stdout.Write(text)
	} else {
		err = s.print(w)
	}
	if err == nil && s.Status != "ok" {
		err = errNo
	}

	return err
}

func (s status) print(w world) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", s.Status)

	for _, d := range s.Dependencies {
		state := string(d.State)
		if !d.Up {
			state = "AWAY"
		}
		line := strings.TrimRight(fmt.Sprintf("  %-5s %-12s %-20s %s", state, d.Kind, d.Name, d.Address), " ")
		if d.State != health.Up {
			line += ": " + d.Why
			if !d.Since.IsZero() {
				line += ", since " + d.Since.Local().Format(time.DateTime)
			}
			if !d.Up || d.Late {
				line += ". " + d.Without
			}
		}
		fmt.Fprintln(&b, strings.TrimRight(ledger.Printable(line), " "))
	}
	for _, t := range s.Troubles {
		shown := func(d health.Dependency) bool { return d.State != health.Up && strings.Contains(t.Text, d.Name) }
		if slices.ContainsFunc(s.Dependencies, shown) {
			continue
		}
		fmt.Fprintf(&b, "! %s\n", ledger.Printable(t.Text))
	}

	_, err := fmt.Fprint(w.stdout, b.String())
	return err
}

// maxControlAnswer bounds what is read from the gateway, in octets.
const maxControlAnswer = 64 << 20
