package rules

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/mimeview"
)

// A rule that runs out of steps on mail from ten networks within an hour is left alone for an hour, and all others go on.
func TestARuleThatOffendsIsSuspended(t *testing.T) {
	set, problems := Parse(File{Name: "x.cf", Text: "body SLOW /(x+x+)+\\1y/\nbody QUICK /xx/\nheader NOT Subject !~ /(x+x+)+\\1y/\nscore NOT 1\n"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	start := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	o := &Offenders{}
	run := func(message string, after time.Duration) Result {
		view := mimeview.New(mail.NewMessage([]byte(message)), mimeview.Options{})
		defer view.Close()
		return set.Run(Input{View: view, Now: start.Add(after), Offenders: o})
	}
	slow := "Subject: a\r\n\r\n" + strings.Repeat("x", 2000) + "\r\n"
	for i := range offencesAllowed {
		r := run(slow, time.Duration(i)*time.Minute)
		if strings.Join(r.Exhausted, " ") != "SLOW" || len(r.Suspended) > 0 {
			t.Fatalf("message %d: %v is out of steps, %v suspended", i, r.Exhausted, r.Suspended)
		}
		until, suspended := o.Exceeded("SLOW", strconv.Itoa(i), start.Add(time.Duration(i)*time.Minute))
		if suspended != (i == offencesAllowed-1) || suspended && !until.Equal(start.Add(9*time.Minute+suspendedFor)) {
			t.Fatalf("message %d: suspended %v until %v", i, suspended, until)
		}
	}
	r := run(slow, 10*time.Minute)
	if strings.Join(r.Suspended, " ") != "SLOW" || len(r.Exhausted) > 0 || len(r.Hits) != 2 || r.Hits[0].Rule != "QUICK" {
		t.Errorf("%+v, want SLOW suspended and QUICK and NOT found", r)
	}
	if r := run(slow, 10*time.Minute+suspendedFor); strings.Join(r.Exhausted, " ") != "SLOW" {
		t.Errorf("%+v, want SLOW tried again", r)
	}
}

// Offences that lie far apart suspend nobody.
func TestOffencesAreForgotten(t *testing.T) {
	o, now := &Offenders{}, time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	for i := range 5 * offencesAllowed {
		if _, suspended := o.Exceeded("SLOW", strconv.Itoa(i), now); suspended {
			t.Fatal("suspended")
		}
		now = now.Add(offencesWithin / (offencesAllowed - 2))
	}
}

// One network can't switch a rule off for all others.
func TestOneNetworkSuspendsNothing(t *testing.T) {
	o, now := &Offenders{}, time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	for range 100 * offencesAllowed {
		if _, suspended := o.Exceeded("SLOW", "192.0.2.0/24", now); suspended {
			t.Fatal("suspended")
		}
	}
}

// A rule that holds where something is not found does not hold because it is suspended.
func TestASuspendedNegationDoesNotHold(t *testing.T) {
	set, _ := Parse(File{Name: "x.cf", Text: "header NOT Subject !~ /never/\n"})
	o, now := &Offenders{}, time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	for i := range offencesAllowed {
		o.Exceeded("NOT", strconv.Itoa(i), now)
	}
	view := mimeview.New(mail.NewMessage([]byte("Subject: a\r\n\r\nx\r\n")), mimeview.Options{})
	defer view.Close()
	if r := set.Run(Input{View: view, Now: now, Offenders: o}); len(r.Hits) > 0 {
		t.Errorf("%v", r.Hits)
	}
}
