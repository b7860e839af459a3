package quarantine

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"postern/internal/mail"
	"postern/policy"
)

// A file that an older version wrote, without category and campaign, is listed like a new one.
func TestOlderFile(t *testing.T) {
	dir := t.TempDir()
	q, err := Open(dir, quiet())
	if err != nil {
		t.Fatal(err)
	}
	item, content := sample(1)
	item.Reasons = []policy.Reason{{Symbol: "CLAM_VIRUS", Score: 10}}
	if err := errors.Join(makeFolder(q.folder(item.ID)), mail.WriteStored(q.folder(item.ID), item.ID, item, content), q.Close(), os.Remove(filepath.Join(dir, "index.db"))); err != nil {
		t.Fatal(err)
	}
	q = open(t, dir)
	if got := ids(t, q, Filter{Category: Virus, Campaign: CampaignKey(item.Subject, "example.org", "", "")}); got != "1" {
		t.Errorf("listed: %q", got)
	}
}

// What hostile mail says of itself is found, not interpreted.
func TestOddSearches(t *testing.T) {
	q := open(t, t.TempDir())
	item, content := sample(1)
	item.Subject, item.HeaderFrom = "'; DROP TABLE item; -- ÄÖ %_", "\x00\xff\x1b[2J <not an address"
	if err := q.Hold(t.Context(), item, content); err != nil {
		t.Fatal(err)
	}
	for _, f := range []Filter{{Text: "äö %_"}, {Text: "'; drop"}, {}} {
		if got := ids(t, q, f); got != "1" {
			t.Errorf("%+v: %q", f, got)
		}
	}
	for _, f := range []Filter{{Text: "%"}, {Sender: "' OR 1=1 --"}, {Recipient: "*"}, {Campaign: "' OR ''='"}, {Category: "x' OR 1 --"}} {
		if got := ids(t, q, f); got != "" && f.Text == "" {
			t.Errorf("%+v: %q", f, got)
		}
	}
}
