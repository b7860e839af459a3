// Package tlsreport reads reports on TLS between mail servers (RFC 8460), and writes what a domain publishes so that others
// send it mail over TLS only (RFC 8461).
package tlsreport

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Report is one report: RFC 8460 section 4.4.
type Report struct {
	Organization string    `json:"organization-name"`
	DateRange    DateRange `json:"date-range"`
	Contact      string    `json:"contact-info"`
	ID           string    `json:"report-id"`
	Policies     []Policy  `json:"policies"`
}

// DateRange is the time that the report is on.
type DateRange struct {
	Start time.Time `json:"start-datetime"`
	End   time.Time `json:"end-datetime"`
}

// Policy is what was seen with one policy.
type Policy struct {
	Policy struct {
		Type   string   `json:"policy-type"`
		String []string `json:"policy-string,omitempty"`
		Domain string   `json:"policy-domain"`
		MXHost Names    `json:"mx-host,omitempty"`
	} `json:"policy"`
	Summary struct {
		Successful int64 `json:"total-successful-session-count"`
		Failed     int64 `json:"total-failure-session-count"`
	} `json:"summary"`
	Failures []Failure `json:"failure-details,omitempty"`
}

// Failure is one kind of failed sessions.
type Failure struct {
	ResultType      string `json:"result-type"`
	SendingIP       string `json:"sending-mta-ip,omitempty"`
	ReceivingMX     string `json:"receiving-mx-hostname,omitempty"`
	ReceivingHelo   string `json:"receiving-mx-helo,omitempty"`
	ReceivingIP     string `json:"receiving-ip,omitempty"`
	FailedSessions  int64  `json:"failed-session-count"`
	AdditionalInfo  string `json:"additional-information,omitempty"`
	FailureReasonID string `json:"failure-reason-code,omitempty"`
}

// Names is a list; some senders write a single name where RFC 8460 section 4.4 has a list.
type Names []string

// UnmarshalJSON reads both.
func (n *Names) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(text, []byte(`"`)) {
		var one string
		if err := json.Unmarshal(text, &one); err != nil {
			return err
		}
		*n = Names{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(n))
}

// Limits of a report from outside.
const (
	MaxFile     = 10 << 20
	MaxInflated = 10 << 20
	maxPolicies = 1000
	maxFailures = 10_000
	maxText     = 1000
)

// Errors of Parse.
var (
	ErrTooLarge = errors.New("the report is larger than 10 MB when it is unpacked")
	ErrNoReport = errors.New("not a TLS report: it holds no policies")
)

// Parse reads a report as it comes: JSON, or that in gzip (RFC 8460 section 5.1).
func Parse(file []byte) (*Report, error) {
	if len(file) > MaxFile {
		return nil, ErrTooLarge
	}
	if bytes.HasPrefix(file, []byte{0x1f, 0x8b}) {
		r, err := gzip.NewReader(bytes.NewReader(file))
		if err != nil {
			return nil, fmt.Errorf("unpack the report: %w", err)
		}
		if file, err = io.ReadAll(io.LimitReader(r, MaxInflated+1)); err != nil {
			return nil, fmt.Errorf("unpack the report: %w", err)
		}
		if len(file) > MaxInflated {
			return nil, ErrTooLarge
		}
	}
	var r Report
	if err := json.Unmarshal(bytes.TrimPrefix(file, []byte("\xef\xbb\xbf")), &r); err != nil {
		return nil, fmt.Errorf("read the report: %w", err)
	}
	switch {
	case len(r.Policies) == 0:
		return nil, ErrNoReport
	case len(r.Policies) > maxPolicies:
		return nil, fmt.Errorf("read the report: more than %d policies", maxPolicies)
	}
	return &r, r.bound()
}

// bound cuts texts to their limit and refuses what can't be.
func (r *Report) bound() error {
	trim(&r.Organization, &r.Contact, &r.ID)
	failures := 0
	for i := range r.Policies {
		p := &r.Policies[i]
		trim(&p.Policy.Type, &p.Policy.Domain)
		p.Policy.String = p.Policy.String[:min(len(p.Policy.String), 100)]
		p.Policy.MXHost = p.Policy.MXHost[:min(len(p.Policy.MXHost), 100)]
		for j := range p.Policy.String {
			trim(&p.Policy.String[j])
		}
		for j := range p.Policy.MXHost {
			trim(&p.Policy.MXHost[j])
		}
		if failures += len(p.Failures); failures > maxFailures {
			return fmt.Errorf("read the report: more than %d kinds of failure", maxFailures)
		}
		if p.Summary.Successful < 0 || p.Summary.Failed < 0 {
			return errors.New("read the report: a count of sessions is less than nothing")
		}
		for j := range p.Failures {
			f := &p.Failures[j]
			if f.FailedSessions < 0 {
				return errors.New("read the report: a count of sessions is less than nothing")
			}
			trim(&f.ResultType, &f.SendingIP, &f.ReceivingMX, &f.ReceivingHelo, &f.ReceivingIP, &f.AdditionalInfo, &f.FailureReasonID)
		}
	}
	return nil
}

func trim(texts ...*string) {
	for _, t := range texts {
		if len(*t) > maxText {
			*t = strings.ToValidUTF8((*t)[:maxText], "") + "…"
		}
	}
}
