package dmarcreport

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"postern/internal/dns"
	"postern/internal/mail"
)

// Queue takes a report on its way. Put returns nil once the message is safe; the same id twice is one message.
type Queue interface {
	Put(ctx context.Context, id string, from, to mail.Address, message []byte) error
}

// Reporter sends the reports of the days that are over. Domains that others want reports for get one a day.
type Reporter struct {
	Store *Store
	DNS   *dns.Resolver
	Queue Queue
	// SameOrganization says whether two domains have one organizational domain (RFC 9989 section 4.10.2).
	SameOrganization func(ctx context.Context, a, b string) (bool, error)
	// From is the sender of reports. Its domain must pass DMARC (RFC 9990 section 3.5.2); it is the receiver's name in them, too.
	From mail.Address
	// OrgName is the reporter, ExtraContact a contact with further information, "" for none.
	OrgName, ExtraContact string
	Now                   func() time.Time
	Log                   *slog.Logger
}

// maxMessage bounds a report as it is mailed, in octets. What is larger is not sent.
const maxMessage = 10 << 20

// Send writes what was counted, then makes and queues all reports that are due. What fails is tried again the next time.
func (r *Reporter) Send(ctx context.Context) error {
	if err := r.Store.Flush(ctx); err != nil {
		return err
	}
	now := r.Now().UTC()
	due, err := r.Store.due(ctx, day(now))
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range due {
		if err := r.report(ctx, d); err != nil {
			errs = append(errs, fmt.Errorf("report to %s: %w", d.domain, err))
			continue
		}
		errs = append(errs, r.Store.done(ctx, d, now))
	}
	return errors.Join(append(errs, r.Store.Expire(ctx, now))...)
}

// errLater means that DNS gave no answer for a destination.
var errLater = errors.New("no answer from DNS for a destination")

func (r *Reporter) report(ctx context.Context, d dueReport) error {
	parts, err := r.Store.parts(ctx, d)
	if err != nil {
		return err
	}
	for i, p := range parts {
		to, retry := r.destinations(ctx, d.domain, p.rua)
		if retry {
			return errLater // nothing was sent yet for this part; the ids make sure that no part goes twice
		}
		if len(to) == 0 {
			continue
		}
		unique := ""
		if len(parts) > 1 {
			unique = fmt.Sprint(i + 1)
		}
		if err := r.mail(ctx, d, &p.feedback, unique, to); err != nil {
			return err
		}
	}
	return nil
}

// mail queues one report for all its destinations.
func (r *Reporter) mail(ctx context.Context, d dueReport, f *Feedback, unique string, to []destination) error {
	submitter := r.From.ASCIIDomain()
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %s", d.day, d.domain, unique))
	id := "dmarc-" + hex.EncodeToString(sum[:12])
	reportID := id + "@" + submitter
	// RFC 9990 section 3.5.1: unique among the reports to a domain, the same in all places
	f.Metadata = Metadata{OrgName: r.OrgName, Email: r.From.String(), ExtraContact: r.ExtraContact, ReportID: reportID,
		Begin: d.day * 86400, End: d.day*86400 + 86399, Generator: "Postern"}
	packed, err := f.Gzip()
	if err != nil {
		return err
	}
	name := f.FileName(submitter, unique)
	for n, dest := range to {
		message := r.message(dest.address, d.domain, reportID, name, packed)
		if len(message) > maxMessage || dest.limit > 0 && int64(len(message)) > dest.limit {
			r.Log.Warn("dmarc report is too large for its destination", "domain", d.domain, "to", dest.address.String(), "octets", len(message))
			continue
		}
		if err := r.Queue.Put(ctx, fmt.Sprintf("%s-%d", id, n), r.From, dest.address, message); err != nil {
			return fmt.Errorf("queue: %w", err)
		}
		r.Log.Info("dmarc report", "domain", d.domain, "to", dest.address.String(), "records", len(f.Records), "id", id)
	}
	return nil
}

// message writes the mail: RFC 9990 section 3.5.2. All values in its header come from our own parsers of addresses and
// domains, so none can hold a line end.
func (r *Reporter) message(to mail.Address, domain, id, file string, packed []byte) []byte {
	submitter := r.From.ASCIIDomain()
	boundary := "=_" + strings.TrimSuffix(id, "@"+submitter)
	var b bytes.Buffer
	line := func(format string, values ...any) { fmt.Fprintf(&b, format+"\r\n", values...) }
	line("From: %s", r.From.WithASCIIDomain().Path())
	line("To: %s", to.WithASCIIDomain().Path())
	line("Date: %s", r.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	line("Message-ID: <%s>", id)
	line("Subject: Report Domain: %s\r\n Submitter: %s\r\n Report-ID: <%s>", domain, submitter, id)
	line("Auto-Submitted: auto-generated")
	line("MIME-Version: 1.0")
	line("Content-Type: multipart/mixed; boundary=\"%s\"\r\n", boundary)
	line("--%s\r\nContent-Type: text/plain; charset=us-ascii\r\n", boundary)
	line("This is a DMARC aggregate report for %s, from %s.\r\n", domain, submitter)
	line("--%s\r\nContent-Type: application/gzip; name=\"%s\"", boundary, file)
	line("Content-Disposition: attachment; filename=\"%s\"", file)
	line("Content-Transfer-Encoding: base64\r\n")
	const width = 57 // octets that make a line of 76: RFC 2045 section 6.8
	for rest := packed; len(rest) > 0; {
		n := min(len(rest), width)
		line("%s", base64.StdEncoding.EncodeToString(rest[:n]))
		rest = rest[n:]
	}
	line("--%s--", boundary)
	return b.Bytes()
}
