package access

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// ask puts one question to a server that answers so.
func ask(t *testing.T, form func(HTTPOptions) Authorizer, answer http.HandlerFunc) (Answer, error) {
	t.Helper()
	server := httptest.NewServer(answer)
	defer server.Close()
	s := session("192.0.2.1")
	s.TLS = &tls.ConnectionState{}
	return form(HTTPOptions{URL: server.URL + "/auth", Bearer: "key", Nonce: "n"}).Authorize(context.Background(), s, "imap",
		Attempt{User: "ann%@example.com", Password: "p w%"})
}

func nginx(o HTTPOptions) Authorizer   { return NewNginxForm(o) }
func dovecot(o HTTPOptions) Authorizer { return NewDovecotForm(o) }

func TestNginxForm(t *testing.T) {
	var asked http.Header
	answer, err := ask(t, nginx, func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header
		for k, v := range map[string]string{"Auth-Status": "OK", "Auth-Server": "192.0.2.9", "Auth-Port": "143", "Auth-User": "ann%25", "Auth-Pass": "other"} {
			w.Header().Set(k, v)
		}
	})
	if err != nil || answer != (Answer{Host: "192.0.2.9:143", User: "ann%", Password: "other"}) {
		t.Errorf("%+v %v", answer, err)
	}
	for k, want := range map[string]string{"Auth-User": "ann%25@example.com", "Auth-Pass": "p%20w%25", "Auth-Protocol": "imap", "Client-Ip": "192.0.2.1", "Auth-Ssl": "on", "Authorization": "Bearer key"} {
		if got := asked.Get(k); got != want {
			t.Errorf("%s: %q, want %q", k, got, want)
		}
	}
}

func TestNginxFormRefusesAndFails(t *testing.T) {
	answer, err := ask(t, nginx, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Auth-Status", "Invalid login or password")
		w.Header().Set("Auth-Wait", "3")
	})
	if err != nil || !answer.Refused || answer.Wait != 3*time.Second {
		t.Errorf("%+v %v", answer, err)
	}
	for name, fields := range map[string]map[string]string{
		"no status": {}, "a name": {"Auth-Status": "OK", "Auth-Server": "evil.example", "Auth-Port": "143"},
		"no port": {"Auth-Status": "OK", "Auth-Server": "192.0.2.9"}, "user": {"Auth-Status": "OK", "Auth-User": "a%0D%0Ab"},
	} {
		_, err := ask(t, nginx, func(w http.ResponseWriter, _ *http.Request) {
			for k, v := range fields {
				w.Header().Set(k, v)
			}
		})
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := ask(t, nginx, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }); err == nil {
		t.Error("a 500 lets in")
	}
	if _, err := ask(t, nginx, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://127.0.0.1:1/", 302) }); err == nil {
		t.Error("it follows a redirect with the password")
	}
}

func TestDovecotForm(t *testing.T) {
	var asked map[string]any
	status := "0"
	question := func() (Answer, error) {
		return ask(t, dovecot, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("command") != "allow" || r.Method != http.MethodPost {
				t.Errorf("asked %s %s", r.Method, r.URL)
			}
			if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
				t.Error(err)
			}
			_, _ = w.Write([]byte(`{"status": ` + status + `, "msg": "x"}`))
		})
	}
	if answer, err := question(); err != nil || answer.Refused {
		t.Errorf("%+v %v", answer, err)
	}
	if asked["login"] != "ann%@example.com" || asked["remote"] != "192.0.2.1" || len(asked["pwhash"].(string)) != 3 {
		t.Errorf("asked %v", asked)
	}
	text, _ := json.Marshal(asked)
	if strings.Contains(string(text), "p w%") {
		t.Error("the password went out")
	}
	for status = range map[string]bool{"-1": true} {
		if answer, err := question(); err != nil || !answer.Refused {
			t.Errorf("%+v %v", answer, err)
		}
	}
	status = "7"
	if answer, err := question(); err != nil || answer.Wait != 7*time.Second {
		t.Errorf("%+v %v", answer, err)
	}
	status = `"x"`
	if _, err := question(); err == nil {
		t.Error("garbage lets in")
	}
}
