package main

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"postern/cmd/postern/app"
	"postern/filters/spf"
	"postern/filters/spf/checkhost"
	"postern/internal/dns"
	"postern/internal/mail"
	"postern/policy/records/ledger"
)

type spfCommand struct {
	where
	output
	IP      string `name:"ip" required:"" placeholder:"ADDR" help:"The client's address."`
	Helo    string `placeholder:"NAME" help:"Its name in EHLO."`
	From    string `required:"" placeholder:"ADDRESS" help:"The envelope sender, <> for none."`
	Explain bool   `default:"true" negatable:"" help:"Show each record, look-up and term. On by default."`
}

// Run checks the sender and, where it is another domain, the HELO name; anything but pass for the sender is the answer no.
func (c *spfCommand) Run(w world) error {
	ip, err := netip.ParseAddr(c.IP)
	if err != nil {
		return usageError{fmt.Errorf("--ip %s: want an IP address", c.IP)}
	}
	cfg, err := c.offline()
	if err != nil {
		return err
	}
	settings := spf.Spec.Settings().(*spf.Settings)
	if err := cfg.Filter("spf").Decode(settings); err != nil {
		return usageError{err}
	}
	resolver, err := app.NewResolver(cfg)
	if err != nil {
		return err
	}
	q := checkhost.Query{Client: ip, Helo: c.Helo, Receiver: cfg.Hostname, Now: time.Now(),
		Limits: checkhost.Limits{Lookups: int(settings.MaxLookups), Voids: int(settings.MaxVoidLookups)}}
	identity, err := c.identify(&q)
	if err != nil {
		return err
	}

	a, err := c.check(w, resolver, q, identity)
	if err != nil {
		return err
	}
	if helo := mail.ASCIIDomain(c.Helo); identity == theSender && helo != "" && helo != q.Domain && settings.CheckHelo {
		q.Domain, q.Local = helo, ""
		if _, err := c.check(w, resolver, q, "HELO"); err != nil {
			return err
		}
	}
	if a.Result != mail.AuthPass {
		return errNo
	}

	return nil
}

const theSender = "the sender"

// identify says whose domain is asked about first: the sender's, or, if it is null, that of HELO (RFC 7208 section 2.4).
func (c *spfCommand) identify(q *checkhost.Query) (identity string, err error) {
	// What is no address is checked all the same: RFC 7208 section 4.3 has a result for it.
	sender := strings.TrimSuffix(strings.TrimPrefix(c.From, "<"), ">")
	if sender == "" {
		q.Domain = mail.ASCIIDomain(c.Helo)
		return "HELO, because the sender is null", nil
	}

	at := strings.LastIndexByte(sender, '@')
	if at < 0 {
		return "", usageError{fmt.Errorf("--from %s: want an address, or <> for the null sender", c.From)}
	}
	q.Domain, q.Local = mail.ASCIIDomain(sender[at+1:]), sender[:at]

	return theSender, nil
}

// spfJSON is one check, for other programs.
type spfJSON struct {
	Identity    string           `json:"identity"`
	Domain      string           `json:"domain"`
	Client      netip.Addr       `json:"client"`
	Result      mail.AuthVerdict `json:"result"`
	Why         string           `json:"why"`
	Explanation string           `json:"explanation,omitempty"`
	Steps       []string         `json:"steps"`
}

func (c *spfCommand) check(w world, r *dns.Resolver, q checkhost.Query, identity string) (checkhost.Answer, error) {
	steps := []string{}
	if c.Explain {
		q.Trace = func(depth int, step string) { steps = append(steps, strings.Repeat("  ", depth)+step) }
	}
	a := checkhost.Check(w.ctx, r, q)
	text := fmt.Sprintf("spf=%s  %s for %s from %s\n", a.Result, identity, ledger.Printable(q.Domain), q.Client)
	if a.Why != "" {
		text += fmt.Sprintf("  %s\n", ledger.Printable(a.Why))
	}
	if a.Explanation != "" {
		text += fmt.Sprintf("  the domain says: %s\n", ledger.Printable(a.Explanation))
	}
	for _, s := range steps {
		text += fmt.Sprintf("    %s\n", ledger.Printable(s))
	}
	return a, c.tell(w, spfJSON{identity, q.Domain, q.Client, a.Result, a.Why, a.Explanation, steps}, text)
}
