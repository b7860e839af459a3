package tlsreport

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"postern/internal/mail"
)

// STS is a policy by which a domain says that mail for it goes over TLS only: RFC 8461 section 3.2.
type STS struct {
	Domain string
	// Mode is "enforce", "testing" or "none".
	Mode string
	// MX are the hosts, "*." before a name matches one label.
	MX     []string
	MaxAge time.Duration
	// Reports wants reports sent there (RFC 8460), "" for none.
	Reports string
}

// longest is the longest max_age: RFC 8461 section 3.2.
const longest = 31557600 * time.Second

// Check says what is wrong with it.
func (p STS) Check() error {
	switch {
	case !mail.ValidDomain(p.Domain):
		return fmt.Errorf("%q is not a domain", p.Domain)
	case p.Mode != "enforce" && p.Mode != "testing" && p.Mode != "none":
		return fmt.Errorf("mode %q: it must be enforce, testing or none", p.Mode)
	case len(p.MX) == 0 && p.Mode != "none":
		return errors.New("a policy needs the names of the mail hosts, as in the domain's MX records")
	case p.MaxAge < 0 || p.MaxAge > longest:
		return fmt.Errorf("max_age %s: it must be at most a year", p.MaxAge)
	}
	for _, mx := range p.MX {
		if !mail.ValidDomain(strings.TrimPrefix(mx, "*.")) || !strings.Contains(mx, ".") {
			return fmt.Errorf("mail host %q is not a name", mx)
		}
	}

	return checkReports(p.Reports)
}

// checkReports checks the address that reports go to: the record of RFC 8460 section 3 gives some characters a meaning.
func checkReports(to string) error {
	if to == "" {
		return nil
	}
	a, err := mail.ParseAddress(to)
	if err != nil || a.Domain == "" || a.NeedsUTF8() || strings.ContainsAny(to, ",!;") {
		return fmt.Errorf("%q can't be an address for reports", to)
	}

	return nil
}

// File is the policy file, to be served as text/plain at URL: RFC 8461 section 3.2.
func (p STS) File() string {
	var b strings.Builder
	fmt.Fprintf(&b, "version: STSv1\r\nmode: %s\r\n", p.Mode)
	for _, mx := range p.MX {
		fmt.Fprintf(&b, "mx: %s\r\n", ascii(mx))
	}
	fmt.Fprintf(&b, "max_age: %d\r\n", int64(p.MaxAge/time.Second))
	return b.String()
}

// URL is where senders fetch the file: RFC 8461 section 3.3.
func (p STS) URL() string {
	return "https://mta-sts." + ascii(p.Domain) + "/.well-known/mta-sts.txt"
}

// Records are the TXT records to publish. The id must be another one whenever the file changes: here it is the time of
// the change (RFC 8461 section 3.1).
func (p STS) Records(changed time.Time) []string {
	records := []string{fmt.Sprintf(`_mta-sts.%s. IN TXT "v=STSv1; id=%s;"`, ascii(p.Domain), changed.UTC().Format("20060102T150405Z"))}
	if p.Reports != "" {
		records = append(records, fmt.Sprintf(`_smtp._tls.%s. IN TXT "v=TLSRPTv1; rua=mailto:%s"`, ascii(p.Domain), p.Reports))
	}
	return records
}

func ascii(name string) string {
	rest, wild := strings.CutPrefix(name, "*.")
	rest = mail.ASCIIDomain(rest)
	if wild {
		return "*." + rest
	}
	return rest
}
