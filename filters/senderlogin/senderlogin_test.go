package senderlogin

import (
	"context"
	"testing"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/testing/filtertest"
)

func TestCases(t *testing.T) { filtertest.Run(t, Spec) }

// The directory says which logins an address belongs to; where it can't be asked, the user tries again later.
func TestDirectory(t *testing.T) {
	for user, want := range map[string]string{"bob": "", "CORP\\bob": "", "bob@corp.example": "", "bob@elsewhere.example": "refused", "carl": "refused", "away": "error"} {
		f, err := Spec.New(config.NewSection("filters.senderlogin", nil), filters.Env{
			Local: func(d string) bool { return d == "corp.example" },
			Logins: func(_ context.Context, a mail.Address) ([]string, bool) {
				if a.Local == "sales" && user != "away" {
					return []string{"Bob"}, true
				}
				return nil, user != "away"
			},
		})
		if err != nil {
			t.Fatal(err)
		}

		tx := &mail.Transaction{Session: &mail.Session{User: user}, Stage: mail.StageMail, From: mail.Address{Local: "sales", Domain: "corp.example"}}
		found, err := f.Inspect(context.Background(), tx)
		got := ""
		switch {
		case err != nil:
			got = "error"
		case len(found) > 0:
			got = "refused"
		}
		if got != want {
			t.Errorf("%s: %q, want %q", user, got, want)
		}
	}
}

func TestSettingsThatCantBe(t *testing.T) {
	for _, s := range []map[string]any{{"shared": []any{"info"}}, {"may_write_as": map[string]any{"bob": []any{"@"}}}} {
		if _, err := Spec.New(config.NewSection("filters.senderlogin", s), filters.Env{}); err == nil {
			t.Errorf("%v is taken", s)
		}
	}
}
