package api

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// The table's answers reach callers within the process: answers, octets, problems, and that there is no such path.
func TestAskWithinTheProcess(t *testing.T) {
	o := open(t)
	o.hold("01H1", "BAYES_SPAM", "ann@ours.test")
	by := Direct{Handler: o.As(Operator("root")), Client: "192.0.2.9:0"}

	var who struct{ Name, Role string }
	if err := Ask(t.Context(), by, "GET", "/whoami", nil, &who); err != nil || who.Name != "root" || who.Role != string(Admin) {
		t.Errorf("%+v %v", who, err)
	}
	var octets strings.Builder
	if err := Ask(t.Context(), by, "GET", "/quarantine/01H1/raw", nil, &octets); err != nil || octets.String() != eml {
		t.Errorf("%q %v", octets.String(), err)
	}
	if err := Ask(t.Context(), by, "DELETE", "/lists/nosuch", nil, nil); !isProblem(err, http.StatusNotFound, "there is no such entry") {
		t.Error(err)
	}
	for _, path := range []string{"/nosuch", "/lists/..", "/lists/%2e%2e/%2e%2e"} {
		if err := Ask(t.Context(), by, "DELETE", path, nil, nil); !isProblem(err, http.StatusNotFound, "there is no such") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := Ask(t.Context(), by, "POST", "/lists", map[string]any{"list": "block", "odd": 1}, nil); !isProblem(err, http.StatusBadRequest, "odd") {
		t.Error(err)
	}
}

func isProblem(err error, status int, words string) bool {
	p, ok := errors.AsType[Problem](err)
	return ok && p.Status == status && strings.Contains(p.Detail, words)
}

// Octets that are cut off are no whole message.
func TestAskHearsOfTheEnd(t *testing.T) {
	short := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "12345")
	})
	if err := Ask(t.Context(), Direct{Handler: short}, "GET", "/x", nil, io.Discard); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

// Only the socket trusts the caller's login name.
func TestTheLoginIsTakenAtTheSocketOnly(t *testing.T) {
	o := open(t)
	ask := func(h http.Handler) string {
		var who struct{ Name string }
		by := Direct{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Set(LoginField, "eve\x1b[2J")
			r.Header.Set("Authorization", "Bearer "+o.tokens[Auditor])
			h.ServeHTTP(w, r)
		})}
		if err := Ask(t.Context(), by, "GET", "/whoami", nil, &who); err != nil {
			t.Error(err)
		}
		return who.Name
	}
	if name := ask(o); name != "auditor" {
		t.Error(name)
	}
	if name := ask(o.Local()); !strings.HasPrefix(name, "eve") || strings.Contains(name, "\x1b") {
		t.Errorf("%q", name)
	}
}
