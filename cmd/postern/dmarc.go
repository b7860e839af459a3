package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"postern/cmd/postern/app"
	"postern/filters"
	"postern/filters/dmarc"
	"postern/internal/dns"
	"postern/internal/mail"
	"postern/policy/records/ledger"
	"postern/policy/reports/dmarcreport"
	"postern/policy/reports/tlsreport"
)

type dmarcCommand struct {
	Check dmarcCheckCommand `cmd:"" help:"Show step by step which policy applies to a domain, and whether what passed is aligned with it."`
	Parse dmarcParseCommand `cmd:"" help:"Show aggregate reports that others sent you: XML, gzip or zip."`
}

type dmarcCheckCommand struct {
	where
	output
	Domain string   `required:"" help:"The author's domain, as in From."`
	SPF    []string `name:"spf" placeholder:"DOMAIN" help:"A domain for which SPF passed."`
	DKIM   []string `name:"dkim" placeholder:"DOMAIN" help:"A domain whose signature is good (d=)."`
	PSL    bool     `name:"psl" help:"Find the organizational domain by the public suffix list, as RFC 7489 did."`
}

// Run explains. Anything but pass is the answer no, if it was asked whether something passes.
func (c *dmarcCheckCommand) Run(w world) error {
	domain := mail.ASCIIDomain(c.Domain[strings.LastIndexByte(c.Domain, '@')+1:])
	if !mail.ValidDomain(domain) {
		return usageError{fmt.Errorf("--domain %s: want a domain", c.Domain)}
	}
	cfg, err := c.offline()
	if err != nil {
		return err
	}
	resolver, err := app.NewResolver(cfg)
	if err != nil {
		return err
	}
	var findings []mail.Finding
	for _, d := range c.SPF {
		findings = append(findings, mail.Finding{Value: filters.SPF{Result: mail.AuthPass, Domain: mail.ASCIIDomain(d)}})
	}
	for _, d := range c.DKIM {
		findings = append(findings, mail.Finding{Value: filters.DKIM{{Result: mail.AuthPass, Domain: mail.ASCIIDomain(d)}}})
	}
	note := func(step string) {
		if !c.JSON {
			fmt.Fprintln(w.stdout, ledger.Printable(step))
		}
	}
	v := dmarc.Explain(dns.WithBudget(w.ctx, dns.Budget{Queries: dns.DefaultQueries, Time: time.Minute}), resolver, c.PSL, domain, findings, note)
	err = c.tell(w, map[string]any{"domain": v.Domain, "result": v.Result, "policy": v.Policy, "record": v.Record, "policy_domain": v.PolicyDomain,
		"organizational_domain": v.Org, "aligned": append([]string{}, v.Aligned...), "why": v.Why},
		ledger.Printable(strings.TrimSuffix("dmarc="+string(v.Result)+"  "+v.Why, "  "))+"\n")
	if err == nil && len(findings) > 0 && v.Result != mail.AuthPass {
		err = errNo
	}
	return err
}

type dmarcParseCommand struct {
	output
	Files []string `arg:"" name:"file" help:"Reports; - is standard input."`
}

// Run shows reports.
func (c *dmarcParseCommand) Run(w world) error {
	return eachReport(w, c.Files, dmarcreport.MaxFile, func(name string, text []byte) error {
		f, err := dmarcreport.Parse(text)
		if err != nil {
			return fmt.Errorf("%s: %w", ledger.Printable(name), err)
		}
		if c.JSON {
			return printJSON(w, f)
		}
		m := f.Metadata
		fmt.Fprintln(w.stdout, ledger.Printable(fmt.Sprintf("%s on %s, %s to %s, p=%s", m.OrgName, f.Published.Domain, onDay(m.Begin), onDay(m.End), f.Published.P)))
		for _, r := range f.Records {
			e := r.Row.Evaluated
			line := fmt.Sprintf("  %6d  %-39s  %-10s  dkim=%s spf=%s  From %s", r.Row.Count, r.Row.SourceIP, e.Disposition, e.DKIM, e.SPF, r.Identifiers.HeaderFrom)
			for _, reason := range e.Reasons {
				line += " (" + strings.TrimSpace(reason.Type+" "+reason.Comment) + ")"
			}
			fmt.Fprintln(w.stdout, ledger.Printable(line))
		}
		return nil
	})
}

func onDay(seconds int64) string { return time.Unix(seconds, 0).UTC().Format("2006-01-02 15:04") }

// eachReport reads files up to a limit, and a little more, so that a parser can say that it is too much.
func eachReport(w world, files []string, limit int64, f func(name string, text []byte) error) error {
	read := func(name string, r io.Reader) error {
		text, err := io.ReadAll(io.LimitReader(r, limit+1))
		if err != nil {
			return err
		}
		return f(name, text)
	}
	for _, name := range files {
		if name == "-" {
			if err := read("standard input", w.in); err != nil {
				return err
			}
			continue
		}
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		if err := errors.Join(read(name, file), file.Close()); err != nil {
			return err
		}
	}
	return nil
}

type tlsReportCommand struct {
	Parse tlsReportParseCommand `cmd:"" help:"Show reports on TLS that others sent you (RFC 8460): JSON or gzip."`
}

type tlsReportParseCommand struct {
	output
	Files []string `arg:"" name:"file" help:"Reports; - is standard input."`
}

// Run shows reports.
func (c *tlsReportParseCommand) Run(w world) error {
	return eachReport(w, c.Files, tlsreport.MaxFile, func(name string, text []byte) error {
		r, err := tlsreport.Parse(text)
		if err != nil {
			return fmt.Errorf("%s: %w", ledger.Printable(name), err)
		}
		if c.JSON {
			return printJSON(w, r)
		}
		fmt.Fprintln(w.stdout, ledger.Printable(fmt.Sprintf("%s, %s to %s", r.Organization, r.DateRange.Start.Format(time.RFC3339), r.DateRange.End.Format(time.RFC3339))))
		for _, p := range r.Policies {
			fmt.Fprintln(w.stdout, ledger.Printable(fmt.Sprintf("  %s (%s): %d sessions good, %d failed", p.Policy.Domain, p.Policy.Type, p.Summary.Successful, p.Summary.Failed)))
			for _, f := range p.Failures {
				line := fmt.Sprintf("    %6d  %s  %s to %s %s", f.FailedSessions, f.ResultType, f.SendingIP, f.ReceivingMX, f.AdditionalInfo)
				fmt.Fprintln(w.stdout, ledger.Printable(strings.TrimSpace(line)))
			}
		}
		return nil
	})
}

type mtaSTSCommand struct {
	output
	Domain  string   `required:""`
	MX      []string `name:"mx" required:"" placeholder:"HOST" help:"The domain's mail hosts, as in its MX records; *.NAME for one label."`
	Mode    string   `default:"testing" enum:"testing,enforce,none" help:"testing: failures are reported, mail is delivered."`
	MaxAge  int64    `default:"604800" placeholder:"SECONDS" help:"How long senders cache the policy (max_age)."`
	Reports string   `placeholder:"ADDRESS" help:"Where reports go (TLS-RPT)."`
}

// Run prints the file and the records.
func (c *mtaSTSCommand) Run(w world) error {
	p := tlsreport.STS{Domain: c.Domain, Mode: c.Mode, MX: c.MX, MaxAge: time.Duration(c.MaxAge) * time.Second, Reports: c.Reports}
	if c.MaxAge < 0 || c.MaxAge > 1<<32 {
		p.MaxAge = -1
	}
	if err := p.Check(); err != nil {
		return usageError{err}
	}
	host := strings.TrimPrefix(p.URL(), "https://")
	host, _, _ = strings.Cut(host, "/")
	records := p.Records(time.Now())
	text := fmt.Sprintf("Serve this at %s as text/plain, with a certificate for %s:\n\n%s\nPut this into DNS:\n\n%s\n", p.URL(), host,
		strings.ReplaceAll(p.File(), "\r\n", "\n"), strings.Join(records, "\n"))
	return c.tell(w, map[string]any{"url": p.URL(), "policy": p.File(), "records": records}, text)
}
