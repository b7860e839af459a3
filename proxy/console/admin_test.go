package console

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

type house struct{}

const hostile = `<script>alert(1)</script>"><img src=x onerror=alert(1)>`

func (house) Numbers(context.Context) ([]Number, error) {
	return []Number{{Name: "messages", Value: "7"}, {Name: hostile, Value: "1", Bad: true}}, nil
}

func (house) Messages(_ context.Context, text string, _ int) ([]Message, error) {
	return []Message{{ID: hostile, From: hostile, To: hostile, Subject: hostile, Verdict: hostile, Fate: hostile, Why: hostile + text}}, nil
}

func (house) Explain(_ context.Context, id string) (string, error) {
	if id != "ID1" {
		return "", ErrUnknown
	}
	return hostile, nil
}

func get(t *testing.T, path string) (int, string, http.Header) {
	t.Helper()
	h, err := Handler(Options{Host: "gw.test", House: house{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://[::1]:8025"+path, nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(body), w.Result().Header
}

// Text of senders is shown and never acts: not in a row, not in a record, not in the search field.
func TestHostileTextIsOnlyText(t *testing.T) {
	for _, path := range []string{"/?q=" + "%3Cscript%3Ealert(1)%3C/script%3E", "/message/ID1"} {
		code, body, header := get(t, path)
		if code != http.StatusOK || strings.Contains(body, "<script") || strings.Contains(body, "<img") || !strings.Contains(body, "&lt;script&gt;") {
			t.Errorf("%s: %d %s", path, code, body)
		}
		if csp := header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "script") {
			t.Errorf("%s: %s", path, csp)
		}
	}
}

func TestUnknownIsNotFoundAndNothingChangesByGet(t *testing.T) {
	if code, _, _ := get(t, "/message/ID2"); code != http.StatusNotFound {
		t.Errorf("got %d", code)
	}
	if code, _, _ := get(t, "/release/ID1"); code != http.StatusNotFound {
		t.Errorf("got %d", code)
	}
}
