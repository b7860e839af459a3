package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"postern/cmd/postern/app"
	"postern/filters"
	"postern/internal/mail"
	"postern/policy"
	"postern/policy/calendar"
	"postern/policy/records/ledger"
)

type checkCommand struct {
	where
	output
	IP    string   `name:"ip" placeholder:"ADDR" help:"The client's address. Without it SPF and DMARC are skipped."`
	Helo  string   `help:"The client's name in EHLO."`
	From  string   `placeholder:"ADDRESS" help:"The envelope sender (default: the address in Return-Path, else in From)."`
	Rcpt  []string `placeholder:"ADDRESS" help:"An envelope recipient; several are judged each."`
	Jobs  int      `default:"1" help:"How many messages are checked in parallel."`
	Paths []string `arg:"" name:"file" help:"Messages, mbox files, Maildirs or folders; - is standard input."`
}

// Run judges every message. The exit code is 0 whatever the verdicts are.
func (c *checkCommand) Run(w world) error {
	checker, err := c.prepare()
	if err != nil {
		return err
	}
	type job struct {
		source source
		done   chan verdictJSON
	}
	queue := make(chan job, max(c.Jobs, 1))
	ordered := make(chan job, max(c.Jobs, 1)*4)
	var workers sync.WaitGroup
	for range max(c.Jobs, 1) {
		workers.Go(func() {
			for j := range queue {
				j.done <- checker.judge(w.ctx, j.source)
			}
		})
	}
	var readErr error
	go func() {
		readErr = eachMessage(w.in, c.Paths, func(s source) error {
			j := job{s, make(chan verdictJSON, 1)}
			queue <- j
			ordered <- j
			return w.ctx.Err()
		})
		close(queue)
		close(ordered)
	}()
	bar, n := newProgress(w, "check").aside(), 0
	defer bar.done()
	for j := range ordered { // in the order of the files, whatever finishes first
		n++
		bar.show(endless, n)
		if err := c.print(w, <-j.done); err != nil {
			return err
		}
	}
	workers.Wait()
	return readErr
}

type checker struct {
	app     *app.Pipeline
	session mail.Session
	from    *mail.Address
	to      []mail.Address
	skipped []skippedJSON
}

func (c *checkCommand) prepare() (*checker, error) {
	cfg, err := c.offline()
	if err != nil {
		return nil, err
	}
	k := &checker{}
	without := []string{"ratelimit"}
	k.skipped = append(k.skipped, skippedJSON{"ratelimit", "offline"})
	if c.IP == "" {
		without = append(without, "spf", "dmarc")
		k.skipped = append(k.skipped, skippedJSON{"spf", "no --ip"}, skippedJSON{"dmarc", "no --ip"})
	} else if k.session.Client, err = netip.ParseAddr(c.IP); err != nil {
		return nil, usageError{fmt.Errorf("--ip %s: want an IP address", c.IP)}
	}
	if c.Helo == "" {
		without = append(without, "helo")
		k.skipped = append(k.skipped, skippedJSON{"helo", "no --helo"})
	}
	k.session.Helo, k.session.ESMTP = c.Helo, true
	if c.From != "" {
		from, err := parseEnvelope(c.From)
		if err != nil {
			return nil, usageError{fmt.Errorf("--from %s: %w", c.From, err)}
		}
		k.from = &from
	}
	for _, r := range c.Rcpt {
		to, err := mail.ParseAddress(r)
		if err != nil {
			return nil, usageError{fmt.Errorf("--rcpt %s: %w", r, err)}
		}
		k.to = append(k.to, to)
	}
	if len(k.to) == 0 {
		k.to = []mail.Address{{Local: "postmaster"}}
	}
	k.app, err = app.NewPipeline(cfg, app.Outside{}, without...)
	return k, err
}

func parseEnvelope(text string) (mail.Address, error) {
	if text == "<>" {
		return mail.Address{}, nil
	}
	return mail.ParseAddress(strings.Trim(text, "<>"))
}

func (k *checker) judge(ctx context.Context, s source) verdictJSON {
	start := time.Now()
	session := k.session
	session.ID, session.Started = mail.NewID(start), start
	tx := &mail.Transaction{ID: mail.TransactionID(session.ID, 1), Session: &session, Message: mail.NewMessage(s.raw)}
	if k.from != nil {
		tx.From = *k.from
	} else {
		tx.From = senderOf(tx.Message)
	}
	for _, to := range k.to {
		tx.Recipients = append(tx.Recipients, mail.Recipient{Address: to})
	}
	run := k.app.Chain.Start(ctx, tx)
	defer run.Close()
	for _, stage := range []mail.Stage{mail.StageHelo, mail.StageMail, mail.StageRcpt, mail.StageMessage} {
		run.Stage(ctx, stage)
	}
	facts := policy.FactsOf(tx)
	facts.Time = calendar.Of(start)
	v := verdictJSON{ID: tx.ID, File: s.name, Skipped: k.skipped, MS: map[string]float64{}}
	for i, to := range k.to {
		verdict := k.app.Policy.Decide(&facts, to)
		if i == 0 {
			v.fill(verdict)
		}
		v.Recipients = append(v.Recipients, recipientJSON{to.String(), verdict.Disposition})
	}
	v.auth(tx.AllFindings())
	v.MS["total"] = float64(time.Since(start).Microseconds()) / 1000
	for name, took := range run.Took {
		v.MS[name] = float64(took.Microseconds()) / 1000
	}
	return v
}

// senderOf is the envelope sender of a stored message, as far as it tells: RFC 5321 section 4.4, final delivery puts it into
// Return-Path. Without that it is the address in From.
func senderOf(m *mail.Message) mail.Address {
	header := m.Header()
	if path := strings.TrimSpace(header.Get("Return-Path")); path != "" {
		if a, rest, err := mail.ParsePath(path, true); err == nil && strings.TrimSpace(rest) == "" {
			return a
		}
	}
	if boxes, _, err := mail.ParseFrom(header.Get("From")); err == nil && len(boxes) > 0 {
		return boxes[0].Address
	}
	return mail.Address{}
}

// verdictJSON is one line of `postern check --json`.
type verdictJSON struct {
	ID            string             `json:"id"`
	File          string             `json:"file"`
	Disposition   policy.Disposition `json:"disposition"`
	Score         float64            `json:"score"`
	Required      policy.Thresholds  `json:"required"`
	Symbols       []symbolJSON       `json:"symbols"`
	Auth          authJSON           `json:"auth"`
	Recipients    []recipientJSON    `json:"recipients"`
	PolicyVersion string             `json:"policy_version"`
	Skipped       []skippedJSON      `json:"skipped"`
	MS            map[string]float64 `json:"ms"`
	decisive      string
}

type symbolJSON struct {
	Name     string   `json:"name"`
	Score    float64  `json:"score"`
	Evidence []string `json:"evidence"`
}

type authJSON struct {
	SPF   mail.AuthVerdict `json:"spf"`
	DKIM  []dkimJSON       `json:"dkim"`
	DMARC dmarcJSON        `json:"dmarc"`
	ARC   mail.AuthVerdict `json:"arc"`
}

type dkimJSON struct {
	Result   mail.AuthVerdict `json:"result"`
	Domain   string           `json:"domain"`
	Selector string           `json:"selector"`
}

type dmarcJSON struct {
	Result mail.AuthVerdict    `json:"result"`
	Policy filters.DMARCPolicy `json:"policy"`
	Record string              `json:"record"`
	Domain string              `json:"domain"`
}

type recipientJSON struct {
	Address     string             `json:"address"`
	Disposition policy.Disposition `json:"disposition"`
}

type skippedJSON struct {
	Filter string `json:"filter"`
	Why    string `json:"why"`
}

func (v *verdictJSON) fill(verdict policy.Verdict) {
	v.Disposition, v.Score, v.Required = verdict.Disposition, verdict.Score, verdict.Required
	v.PolicyVersion, v.decisive = verdict.PolicyVersion, verdict.Decisive
	v.Symbols = []symbolJSON{}
	for _, r := range verdict.Reasons {
		evidence := r.Evidence
		if evidence == nil {
			evidence = []string{}
		}
		v.Symbols = append(v.Symbols, symbolJSON{r.Symbol, r.Score, evidence})
	}
}

func (v *verdictJSON) auth(found []mail.Finding) {
	v.Auth = authJSON{SPF: mail.AuthNone, DKIM: []dkimJSON{}, DMARC: dmarcJSON{Result: mail.AuthNone}, ARC: mail.AuthNone}
	for _, f := range found {
		switch value := f.Value.(type) {
		case filters.SPF:
			v.Auth.SPF = value.Result
		case filters.DKIM:
			for _, s := range value {
				v.Auth.DKIM = append(v.Auth.DKIM, dkimJSON{s.Result, s.Domain, s.Selector})
			}
		case filters.ARC:
			v.Auth.ARC = value.Result
		case filters.DMARC:
			v.Auth.DMARC = dmarcJSON{value.Result, value.Policy, value.Record, value.Domain}
		}
	}
}

func (c *checkCommand) print(w world, v verdictJSON) error {
	if c.JSON {
		return printJSON(w, v)
	}
	_, err := fmt.Fprintf(w.stdout, "%s: %s, score %.1f: %s\n", ledger.Printable(v.File), v.Disposition, v.Score, ledger.Printable(v.decisive))
	for _, s := range v.Symbols {
		if err == nil { // the evidence is text of the message
			line := fmt.Sprintf("  %6.1f  %-28s %s", s.Score, s.Name, strings.Join(s.Evidence, "; "))
			_, err = fmt.Fprintln(w.stdout, ledger.Printable(strings.TrimRight(line, " ")))
		}
	}
	return err
}
