package dmarcreport

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// Limits of a report from outside: RFC 9990 section 8.1 warns of bombs in the archive and in the XML.
const (
	MaxFile     = 10 << 20 // octets, as it came
	MaxInflated = 10 << 20
	MaxRecords  = 100_000
	maxText     = 1000 // octets of any text of it
	maxList     = 100  // results and reasons of a record
)

// Errors of Parse.
var (
	ErrTooLarge  = errors.New("the report is larger than 10 MB when it is unpacked")
	ErrNoReport  = errors.New("not an aggregate report: there is no <feedback> with a policy in it")
	ErrManyFiles = errors.New("a zip archive with anything but one report in it")
)

// Parse reads a report as it comes by mail: XML, or that in gzip or zip. The XML may be that of RFC 9990 or of RFC 7489;
// what it holds beyond is skipped. Entities other than the five of XML itself are an error, so nothing can grow.
func Parse(file []byte) (*Feedback, error) { return parse(file, MaxRecords) }

func parse(file []byte, limit int) (*Feedback, error) {
	if len(file) > MaxFile {
		return nil, ErrTooLarge
	}
	text, err := inflate(file)
	if err != nil {
		return nil, err
	}
	d := xml.NewDecoder(bytes.NewReader(text))
	d.CharsetReader = charset
	f := &Feedback{}
	seen := false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the report: %w", err)
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if start.Name.Local == "feedback" && !seen {
			seen = true
			continue
		}
		if !seen {
			return nil, ErrNoReport
		}
		if err := f.element(d, start, limit); err != nil {
			return nil, fmt.Errorf("read the report: %w", err)
		}
	}
	if !seen || f.Published.Domain == "" {
		return nil, ErrNoReport
	}
	return f, nil
}

// element reads one element below <feedback>.
func (f *Feedback) element(d *xml.Decoder, start xml.StartElement, limit int) error {
	switch start.Name.Local {
	case "version":
		if err := d.DecodeElement(&f.Version, &start); err != nil {
			return err
		}
		f.Version = short(f.Version)
		return nil
	case "report_metadata":
		f.Metadata = Metadata{}
		if err := d.DecodeElement(&f.Metadata, &start); err != nil {
			return err
		}
		m := &f.Metadata
		m.Errors = m.Errors[:min(len(m.Errors), maxList)]
		for i := range m.Errors {
			m.Errors[i] = short(m.Errors[i])
		}
		trim(&m.OrgName, &m.Email, &m.ExtraContact, &m.ReportID, &m.Generator)
		return nil
	case "policy_published":
		f.Published = PolicyPublished{}
		if err := d.DecodeElement(&f.Published, &start); err != nil {
			return err
		}
		p := &f.Published
		trim(&p.Domain, &p.DiscoveryMethod, &p.P, &p.SP, &p.NP, &p.FO, &p.ADKIM, &p.ASPF, &p.Testing, &p.Pct)
		return nil
	case "record":
		if len(f.Records) == limit {
			return fmt.Errorf("more than %d records", limit)
		}
		var r wireRecord
		if err := d.DecodeElement(&r, &start); err != nil {
			return err
		}
		record, err := r.checked()
		f.Records = append(f.Records, record)
		return err
	}
	return d.Skip()
}

// wireRecord is a record with an unchecked address: some senders put white space around it.
type wireRecord struct {
	Row struct {
		SourceIP  string    `xml:"source_ip"`
		Count     int64     `xml:"count"`
		Evaluated Evaluated `xml:"policy_evaluated"`
	} `xml:"row"`
	Identifiers Identifiers `xml:"identifiers"`
	Auth        AuthResults `xml:"auth_results"`
}

func (w wireRecord) checked() (Record, error) {
	r := Record{Identifiers: w.Identifiers, Auth: w.Auth}
	ip, err := netip.ParseAddr(strings.TrimSpace(w.Row.SourceIP))
	if err != nil || ip.Zone() != "" {
		return r, fmt.Errorf("source_ip %q is no address", short(w.Row.SourceIP))
	}
	if w.Row.Count < 0 {
		return r, fmt.Errorf("count %d is less than nothing", w.Row.Count)
	}
	r.Row = Row{ip, w.Row.Count, w.Row.Evaluated}
	e := &r.Row.Evaluated
	e.Reasons = e.Reasons[:min(len(e.Reasons), maxList)]
	r.Auth.DKIM = r.Auth.DKIM[:min(len(r.Auth.DKIM), maxList)]
	r.Auth.SPF = r.Auth.SPF[:min(len(r.Auth.SPF), maxList)]
	trim(&e.Disposition, &e.DKIM, &e.SPF, &r.Identifiers.HeaderFrom, &r.Identifiers.EnvelopeFrom, &r.Identifiers.EnvelopeTo)
	for i := range e.Reasons {
		trim(&e.Reasons[i].Type, &e.Reasons[i].Comment)
	}
	for i := range r.Auth.DKIM {
		k := &r.Auth.DKIM[i]
		trim(&k.Domain, &k.Selector, &k.Result, &k.Human)
	}
	for i := range r.Auth.SPF {
		s := &r.Auth.SPF[i]
		trim(&s.Domain, &s.Scope, &s.Result, &s.Human)
	}
	return r, nil
}

func trim(texts ...*string) {
	for _, t := range texts {
		*t = short(*t)
	}
}

func short(text string) string {
	text = strings.TrimSpace(text)
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}

func inflate(file []byte) ([]byte, error) {
	switch {
	case bytes.HasPrefix(file, []byte{0x1f, 0x8b}): // RFC 1952 section 2.3.1
		r, err := gzip.NewReader(bytes.NewReader(file))
		if err != nil {
			return nil, fmt.Errorf("unpack the report: %w", err)
		}
		return bounded(r)
	case bytes.HasPrefix(file, []byte("PK\x03\x04")):
		return unzip(file)
	}
	return file, nil
}

func unzip(file []byte) ([]byte, error) {
	z, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return nil, fmt.Errorf("unpack the report: %w", err)
	}
	if len(z.File) != 1 {
		return nil, ErrManyFiles
	}
	r, err := z.File[0].Open()
	if err != nil {
		return nil, fmt.Errorf("unpack the report: %w", err)
	}
	text, err := bounded(r)
	return text, errors.Join(err, r.Close())
}

// bounded reads all, or as much as a report may hold; what the archive says of its size counts for nothing.
func bounded(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxInflated+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("unpack the report: %w", err)
	case len(text) > MaxInflated:
		return nil, ErrTooLarge
	}
	return text, nil
}

// charset reads the few other charsets that reports are written in, as the Latin-1 that all of them are close to.
func charset(name string, r io.Reader) (io.Reader, error) {
	switch strings.ToLower(name) {
	case "us-ascii", "ascii", "utf8":
		return r, nil
	case "iso-8859-1", "iso-8859-15", "windows-1252", "latin1":
		return &latin1{r: r}, nil
	}
	return nil, fmt.Errorf("charset %q is not known", short(name))
}

// latin1 turns octets into UTF-8.
type latin1 struct {
	r    io.Reader
	rest []byte
}

func (l *latin1) Read(p []byte) (int, error) {
	if len(l.rest) == 0 {
		var buf [512]byte
		n, err := l.r.Read(buf[:])
		for _, c := range buf[:n] {
			l.rest = append(l.rest, string(rune(c))...)
		}
		if n == 0 {
			return 0, err
		}
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}
