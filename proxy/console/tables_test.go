package console

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"postern/filters"
)

// table has one row, until it is removed.
type table struct{ gone *bool }

func (table) Verbs() []string { return []string{"lift"} }

func (s table) Rows(context.Context, int) ([]filters.Row, error) {
	if *s.gone {
		return nil, nil
	}
	return []filters.Row{{Key: hostile, Text: hostile}}, nil
}

func (s table) Apply(_ context.Context, verb, key string) error {
	if *s.gone || verb != "lift" || key != hostile {
		return filters.ErrNoRow
	}
	*s.gone = true
	return nil
}

func bansConsole(t *testing.T, password string) (http.Handler, *bool) {
	t.Helper()
	gone := new(bool)
	tables := func() map[string]filters.AdminTable { return map[string]filters.AdminTable{"bans": table{gone}} }
	h, err := Handler(Options{Host: "gw.test", House: house{}, AdminTables: tables, Password: password,
		Apply: func(ctx context.Context, _ netip.Addr, name, verb, key string) error {
			return tables()[name].Apply(ctx, verb, key)
		}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return h, gone
}

func press(h http.Handler, password, site string) int {
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:8025/shelf/bans/lift", strings.NewReader(url.Values{"key": {hostile}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if password != "" {
		r.SetBasicAuth("admin", password)
	}
	if site != "" {
		r.Header.Set("Sec-Fetch-Site", site)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

func TestAButtonWantsALoginAndAPageOfOurs(t *testing.T) {
	open, gone := bansConsole(t, "")
	if code := press(open, "", "same-origin"); code != http.StatusForbidden || *gone {
		t.Errorf("without a password: %d", code)
	}
	h, gone := bansConsole(t, "right")
	for _, c := range []struct {
		password, site string
		want           int
	}{{"", "same-origin", 401}, {"wrong", "same-origin", 401}, {"right", "cross-site", 403}, {"right", "", 403}, {"right", "same-origin", 303}} {
		if code := press(h, c.password, c.site); code != c.want || *gone != (c.want == 303) {
			t.Errorf("%q %q: %d, want %d", c.password, c.site, code, c.want)
		}
	}
	if code := press(h, "right", "same-origin"); code != http.StatusSeeOther {
		t.Errorf("what is gone already: %d", code)
	}
}

func TestAShelfShowsItsRowsAsText(t *testing.T) {
	h, _ := bansConsole(t, "")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://127.0.0.1:8025/shelf/bans", nil))
	body := w.Body.String()
	if w.Code != 200 || strings.Contains(body, "<script") || !strings.Contains(body, "&lt;script&gt;") || strings.Contains(body, "<button") {
		t.Errorf("%d %s", w.Code, body)
	}
	// a GET changes nothing: link scanners fetch whatever they see
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://127.0.0.1:8025/shelf/bans/lift?key=x", nil))
	if w.Code == http.StatusOK || w.Code == http.StatusSeeOther {
		t.Errorf("got %d", w.Code)
	}
}

// Without a password, any site could read a console by making a browser call it under the site's own host name.
func TestAnOpenConsoleAnswersToNoStrangersName(t *testing.T) {
	open, _ := bansConsole(t, "")
	locked, _ := bansConsole(t, "right")
	for host, want := range map[string]int{"127.0.0.1:8025": 200, "[::1]": 200, "localhost:8025": 200, "GW.test:8025": 200, "evil.example": 403, "127.0.0.1.evil.example:8025": 403} {
		r := httptest.NewRequest(http.MethodGet, "/shelf/bans", nil)
		r.Host = host
		w := httptest.NewRecorder()
		open.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: %d, want %d", host, w.Code, want)
		}
		r.SetBasicAuth("admin", "right")
		w = httptest.NewRecorder()
		locked.ServeHTTP(w, r)
		if w.Code != 200 {
			t.Errorf("%s with a password: %d", host, w.Code)
		}
	}
}
