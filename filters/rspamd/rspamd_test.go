package rspamd

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
)

func inspect(t *testing.T, handler http.HandlerFunc, more map[string]any) (string, error) {
	t.Helper()
	server := httptest.NewServer(handler)
	defer server.Close()
	settings := map[string]any{"url": server.URL, "timeout": "500ms"}
	for k, v := range more {
		settings[k] = v
	}
	f, err := Spec.New(config.NewSection("filters.rspamd", settings), filters.Env{})
	if err != nil {
		t.Fatal(err)
	}
	from, _ := mail.ParseAddress("bob@friend.example")
	to, _ := mail.ParseAddress("ann@corp.example")
	tx := &mail.Transaction{ID: "ID1.1", From: from, Recipients: []mail.Recipient{{Address: to}, {Address: from}},
		Session: &mail.Session{Client: netip.MustParseAddr("192.0.2.1"), Helo: "mail\r\nUser: root"},
		Message: mail.NewMessage([]byte("From: bob@friend.example\r\nSubject: x\r\n\r\nhello\r\n"))}
	found, err := f.Inspect(t.Context(), tx)
	var all []string
	for _, one := range found {
		all = append(all, one.Symbol+" "+one.Evidence)
	}
	return strings.Join(all, ", "), err
}

func TestAnswers(t *testing.T) {
	for text, want := range map[string]string{
		`{"is_skipped":false,"score":7.5,"required_score":15,"action":"add header","symbols":{"A":{"score":1},"B":{"score":-3.5},"C":{"score":10}}}`: "RSPAMD_SPAM 7.5 of 15.0, add header: C(10.0) B(-3.5) A(1.0)",
		`{"score":30,"required_score":15,"action":"reject","symbols":{}}`:                                                                            "RSPAMD_SPAM 30.0 of 15.0, reject: , RSPAMD_REJECT ",
		`{"score":-4,"required_score":15,"action":"no action"}`:                                                                                      "RSPAMD_HAM -4.0 of 15.0, no action: ",
		`{"score":0,"required_score":15,"action":"no action"}`:                                                                                       "",
		`{"score":0,"required_score":15,"action":"soft reject"}`:                                                                                     "RSPAMD_SOFT_REJECT ",
		`{"is_skipped":true}`: "RSPAMD_NOT_SCANNED skipped",
		`{}`:                  "error",
		`{"score":1,"required_score":0,"action":"no action"}`: "error",
		`[]`: "error",
		`{"score":"1","required_score":15,"action":"no action"}`: "error",
		`{"symbols":"` + strings.Repeat("x", 2<<20) + `"}`:       "error",
		``: "error",
	} {
		got, err := inspect(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }, nil)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%.100s: %q %v, want %q", text, got, err, want)
		}
	}
}

func TestWhatIsSent(t *testing.T) {
	_, err := inspect(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for name, want := range map[string]string{"From": "bob@friend.example", "IP": "192.0.2.1", "Queue-Id": "ID1.1", "Helo": "mail??User: root", "User": ""} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %q", name, got)
			}
		}
		if got := r.Header.Values("Rcpt"); len(got) != 2 || r.URL.Path != "/checkv2" || !strings.HasSuffix(string(body), "hello\r\n") {
			t.Errorf("%v %s %q", got, r.URL.Path, body)
		}
		_, _ = io.WriteString(w, `{"score":0,"required_score":15,"action":"no action"}`)
	}, nil)
	if err != nil {
		t.Error(err)
	}
}

func TestWhateverElseItDoesIsNeverClean(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"forbidden": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:9/", http.StatusTemporaryRedirect)
		},
		"slow":   func(_ http.ResponseWriter, r *http.Request) { time.Sleep(800 * time.Millisecond) },
		"closes": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		if got, err := inspect(t, handler, nil); err == nil || got != "" {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	if got, err := inspect(t, nil, map[string]any{"max_size": "1KB", "url": "http://127.0.0.1:9"}); err == nil {
		t.Errorf("nobody there: %q", got)
	}
}

func TestSettings(t *testing.T) {
	for _, settings := range []map[string]any{{}, {"url": "rspamd:11333"}, {"url": "http://x", "timeout": "2m"}, {"url": "http://x", "password_file": "/nonexistent"}} {
		if _, err := Spec.New(config.NewSection("filters.rspamd", settings), filters.Env{}); err == nil {
			t.Errorf("%v is taken", settings)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"score":7.5,"required_score":15,"action":"add header","symbols":{"A":{"score":1}}}`))
	f.Add([]byte(`{"is_skipped":true}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		found, err := read(text)
		for _, one := range found {
			if w, ok := one.Value.(share); ok && (w < 0 || w > 1) || err != nil {
				t.Fatalf("%v %v", found, err)
			}
		}
	})
}
