package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"postern/cmd/postern/app"
	"postern/filters"
	"postern/internal/mail"
	"postern/policy/records/ledger"
	"postern/proxy/outbound"
)

// runFilter runs one filter by itself.
func runFilter(w world, f where, name string, tx *mail.Transaction, stage mail.Stage) ([]mail.Finding, error) {
	j, err := onlyFilter(f, name)
	if err != nil {
		return nil, err
	}
	return oneFilter(w, j, tx, stage)
}

// onlyFilter makes a chain of one filter.
func onlyFilter(f where, name string) (*app.Pipeline, error) {
	cfg, err := f.offline()
	if err != nil {
		return nil, err
	}
	var others []string
	for _, k := range app.KnownFilters() {
		if k.Name != name {
			others = append(others, k.Name)
		}
	}
	return app.NewPipeline(cfg, app.Outside{}, others...)
}

// oneFilter runs such a chain on a transaction.
func oneFilter(w world, j *app.Pipeline, tx *mail.Transaction, stage mail.Stage) ([]mail.Finding, error) {
	run := j.Chain.Start(w.ctx, tx)
	defer run.Close()
	run.Stage(w.ctx, stage)
	if stage != mail.StageMessage {
		run.Stage(w.ctx, mail.StageMessage) // background work is awaited here
	}
	if failed, ok := mail.Find(tx.Findings, filters.Failed); ok {
		return nil, errors.New(failed.Evidence)
	}
	return tx.Findings, nil
}

type dkimCommand struct {
	Verify dkimVerifyCommand `cmd:"" help:"Check the signatures of messages."`
	Keygen dkimKeygenCommand `cmd:"" help:"Make a key: the private half to a file, the DNS record to standard output."`
}

type dkimVerifyCommand struct {
	where
	output
	Explain bool     `default:"true" negatable:"" help:"Show each step: key, body hash, signature. On by default."`
	Paths   []string `arg:"" name:"file" help:"Messages; - is standard input."`
}

// Run verifies; it is the answer no unless every message has a signature that passes.
func (c *dkimVerifyCommand) Run(w world) error {
	cfg, err := c.offline()
	if err != nil {
		return err
	}
	resolver, err := app.NewResolver(cfg)
	if err != nil {
		return err
	}
	all := true
	err = eachMessage(w.in, c.Paths, func(s source) error {
		tx := &mail.Transaction{Session: &mail.Session{}, Message: mail.NewMessage(s.raw)}
		found, err := runFilter(w, c.where, "dkim", tx, mail.StageMessage)
		if err != nil {
			return err
		}
		passed, text := false, ""
		report := dkimReport{File: s.name, Result: mail.AuthNone, Signatures: []dkimSignature{}, Steps: []string{}}
		for _, f := range found {
			signatures, _ := f.Value.(filters.DKIM)
			for _, g := range signatures {
				passed = passed || g.Result == mail.AuthPass
				line := fmt.Sprintf("%s: dkim=%s d=%s s=%s a=%s", s.name, g.Result, g.Domain, g.Selector, g.Algorithm)
				if g.KeyBits > 0 {
					line += fmt.Sprintf(" %d bits", g.KeyBits)
				}
				if g.Why != "" {
					line += ": " + g.Why
				}
				text += ledger.Printable(line) + "\n"
				report.add(g)
			}
			if len(signatures) == 0 {
				text += ledger.Printable(s.name+": dkim=none "+f.Symbol+" "+f.Evidence) + "\n"
			}
		}
		all = all && passed
		if c.Explain {
			var steps strings.Builder
			if err := explainDKIM(w.ctx, &steps, resolver, tx.Message); err != nil {
				return err
			}
			text += steps.String()
			report.explained(steps.String())
		}
		return c.tell(w, report, text)
	})
	if err == nil && !all {
		err = errNo
	}
	return err
}

// dkimReport is the result of one message's signatures, as JSON. Result is pass if one of them passes.
type dkimReport struct {
	File       string           `json:"file"`
	Result     mail.AuthVerdict `json:"result"`
	Signatures []dkimSignature  `json:"signatures"`
	Steps      []string         `json:"steps"`
}

type dkimSignature struct {
	Result    mail.AuthVerdict `json:"result"`
	Domain    string           `json:"domain"`
	Selector  string           `json:"selector"`
	Algorithm string           `json:"algorithm"`
	KeyBits   int              `json:"key_bits,omitempty"`
	Why       string           `json:"why,omitempty"`
}

func (r *dkimReport) add(g filters.DKIMSignature) {
	r.Signatures = append(r.Signatures, dkimSignature{g.Result, g.Domain, g.Selector, g.Algorithm, g.KeyBits, g.Why})
	if r.Result != mail.AuthPass {
		r.Result = g.Result
	}
}

func (r *dkimReport) explained(steps string) {
	for line := range strings.Lines(steps) {
		r.Steps = append(r.Steps, strings.TrimSpace(line))
	}
}

type dkimKeygenCommand struct {
	output
	Domain   string `required:""`
	Selector string `required:"" help:"A name for the key, such as the year and month."`
	Kind     string `enum:"rsa,ed25519" default:"rsa" help:"rsa (2048 bits, read everywhere) or ed25519."`
	Out      string `required:"" placeholder:"FILE" help:"Where the private key goes; the file must not exist."`
}

// Run makes the key and says what to do with it.
func (c *dkimKeygenCommand) Run(w world) error {
	if !mail.ValidDomain(c.Domain) || !mail.ValidDomain(c.Selector) {
		return usageError{errors.New("--domain and --selector must be names as they stand in DNS")}
	}
	pem, record, err := outbound.Keygen(c.Kind)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(c.Out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("the key is not overwritten: %w", err)
	}
	if _, err := f.WriteString(pem); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	file := c.Out // the settings may stand in another folder
	if full, err := filepath.Abs(file); err == nil {
		file = full
	}
	var quoted bytes.Buffer
	for rest := record; rest != ""; { // strings of a TXT record hold 255 octets
		n := min(len(rest), 255)
		fmt.Fprintf(&quoted, " %q", rest[:n])
		rest = rest[n:]
	}
	text := fmt.Sprintf("%s._domainkey.%s. IN TXT (%s )\n\nPut this into DNS, then into postern.toml:\n\n[dkim.%q]\nkeys = { %q = %q }\n\n[outbound]\nsign = [%q]\n",
		c.Selector, c.Domain, strings.TrimRight(quoted.String(), " "), c.Domain, c.Selector, file, c.Domain)
	return c.tell(w, map[string]string{"name": c.Selector + "._domainkey." + c.Domain, "txt": record, "file": file}, text)
}
