package app_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// hooks receives the webhook's alerts.
type hooks struct {
	mu  sync.Mutex
	all []map[string]any
}

func (h *hooks) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var told map[string]any
	if json.NewDecoder(r.Body).Decode(&told) == nil {
		h.mu.Lock()
		h.all = append(h.all, told)
		h.mu.Unlock()
	}
}

func (h *hooks) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = nil
}

func (h *hooks) told(kind string, over bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.all {
		if t["kind"] == kind && t["over"] == over {
			return true
		}
	}
	return false
}

// toldAs reports whether an alert of a kind was sent, as slow or away.
func (h *hooks) toldAs(kind, state string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.all {
		if t["kind"] == kind && t["over"] == false && t["state"] == state {
			return true
		}
	}
	return false
}

func until(t testing.TB, what string, yes func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !yes(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// A next hop that does not answer is reported by alert, at /healthz and in the metrics.
func TestTroubleIsTold(t *testing.T) {
	told := &hooks{}
	chat := httptest.NewServer(told)
	defer chat.Close()
	metrics := freeAddress(t)
	gone := freeAddress(t)
	newGate(t, `[alerts]
webhook = "`+chat.URL+`/secret"
after = "0s"
[metrics]
listen = "`+metrics+`"
[next_hop."ours.test"]
addresses = ["`+gone+`"]
`)
	until(t, "the webhook hears of the hop", func() bool { return told.told("hop", false) })
	health := get(t, "http://"+metrics+"/healthz")
	if !strings.Contains(health, `"degraded"`) || !strings.Contains(health, gone) {
		t.Error(health)
	}
	if text := get(t, "http://"+metrics+"/metrics"); !strings.Contains(text, `postern_troubles{kind="hop"} 1`) {
		t.Error(text)
	}
	if text := get(t, "http://"+metrics+"/readyz"); !strings.Contains(text, `"degraded"`) {
		t.Error(text)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func get(t testing.TB, url string) string {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The dashboard asks for nothing that is not measured.
func TestDashboardKnowsTheMetrics(t *testing.T) {
	text, err := os.ReadFile("../../../deploy/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(text) {
		t.Fatal("the dashboard is no JSON")
	}
	metrics := freeAddress(t)
	newGate(t, "[metrics]\nlisten = \""+metrics+"\"\n")
	measured := get(t, "http://"+metrics+"/metrics")
	for _, name := range regexp.MustCompile(`postern_[a-z_]+`).FindAllString(string(text), -1) {
		if !strings.Contains(measured, "# TYPE "+name+" ") {
			t.Errorf("%s is not measured", name)
		}
	}
}
