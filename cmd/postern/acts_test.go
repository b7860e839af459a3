package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"postern/policy/records/quarantine"
	"postern/proxy/console/api"
)

// walk is a walk through all verbs in all ways, with what was kept on the way.
type walk struct {
	*desk
	vars map[string]string
}

func (w *walk) fill(text string) string {
	return os.Expand(text, func(name string) string { return w.vars[name] })
}

// step asks for one thing, and gives the answer.
func (w *walk) step(line string) string {
	w.t.Helper()
	way, rest, _ := strings.Cut(w.fill(line), " ")
	switch way {
	case "cli":
		out, err := exec.CommandContext(w.t.Context(), "postern", append(strings.Fields(rest), "-c", w.file)...).Output()
		if exit, ok := err.(*exec.ExitError); ok && exit.ExitCode() > exitNo {
			w.t.Errorf("%s: exit code %d: %s", line, exit.ExitCode(), exit.Stderr)
		}
		return string(out)
	case "api":
		method, rest, _ := strings.Cut(rest, " ")
		path, body, _ := strings.Cut(rest, " ")
		code, text := w.ask(method, "/api/v1"+path, body)
		if code >= http.StatusInternalServerError {
			w.t.Errorf("%s: %d %s", line, code, text)
		}
		return text
	case "console":
		method, rest, _ := strings.Cut(rest, " ")
		path, key, _ := strings.Cut(rest, " ")
		w.press(method, path, key)
		return ""
	}
	w.t.Fatalf("%s: begin with cli, api or console", line)
	return ""
}

// press presses a button of the console.
func (w *walk) press(method, path, key string) {
	w.t.Helper()
	cookie := w.signIn()
	r, err := http.NewRequestWithContext(w.t.Context(), method, "http://"+w.app.ConsoleAddress()+path, strings.NewReader(url.Values{"key": {key}}.Encode()))
	w.check(err)
	r.AddCookie(cookie)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	answer, err := http.DefaultTransport.RoundTrip(r)
	w.check(err)
	w.check(answer.Body.Close())
	if answer.StatusCode != http.StatusSeeOther {
		w.t.Errorf("console %s: %d", path, answer.StatusCode)
	}
}

// signIn signs the admin of the settings in to the console.
func (w *walk) signIn() *http.Cookie {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, "http://"+w.app.ConsoleAddress()+"/signin", strings.NewReader(url.Values{"name": {"admin"}, "secret": {"secret"}}.Encode()))
	w.check(err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	answer, err := http.DefaultTransport.RoundTrip(r)
	w.check(err)
	w.check(answer.Body.Close())
	if answer.StatusCode != http.StatusSeeOther || len(answer.Cookies()) != 1 {
		w.t.Fatalf("signing in: %d, %d cookies", answer.StatusCode, len(answer.Cookies()))
	}

	return answer.Cookies()[0]
}

// keep keeps a value of an answer.
func (w *walk) keep(name, key, answer string) {
	w.t.Helper()
	var all map[string]any
	if err := json.Unmarshal([]byte(answer), &all); err != nil {
		w.t.Fatalf("%s: %v: %s", name, err, answer)
	}
	w.vars[name], _ = all[key].(string)
}

// asIfWritten is an act as a script writes it.
func asIfWritten(a api.Act) string {
	return strings.Join(strings.Fields(string(a.From)+" "+a.Name+" | "+a.What+" | "+a.Outcome), " ")
}

// openWalk opens a gateway with all that the walk needs.
func openWalk(t *testing.T) *walk {
	t.Helper()
	d := openDeskWith(t, "password_file = \"password\"\n[mail_backend.\"default\"]\nimap = [\"127.0.0.1:9\"]\ntls = \"none\"\n")
	dir := filepath.Dir(d.file)
	for name, text := range map[string]string{"strict.toml": strictPolicy, "map.txt": "one@spam.example\n", "mail.log": "ben@corp.test dora@friend.example\nben@corp.test emil@friend.example\n"} {
		d.check(os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	item, err := d.app.Quarantine.Find(t.Context(), d.id)
	d.check(err)
	if item.Category != quarantine.Spam {
		t.Fatal(item.Category)
	}
	return &walk{d, map[string]string{"DIR": dir, "HELD": d.id, "CAMPAIGN": item.Campaign}}
}

// through walks through the script, and gives what the log must say. What is skipped is not asked for.
func (w *walk) through(skip func(step string) bool) []string {
	w.t.Helper()
	script, err := os.ReadFile("testdata/acts/acts.txt")
	w.check(err)
	want, way, answer, skipped := []string{"cli token add | admin storm | done"}, "", "", false
	for line := range strings.Lines(string(script)) {
		line = strings.TrimRight(line, "\n")
		within := strings.HasPrefix(line, "\t")
		if line != "" && line[0] != '#' && !within {
			if skipped = skip(line); !skipped {
				way, _, _ = strings.Cut(line, " ")
				answer = w.step(line)
			}
		}
		switch {
		case skipped:
		case strings.HasPrefix(line, "\t= "):
			part := strings.Fields(line)
			w.keep(part[1], part[2], answer)
		case strings.HasPrefix(line, "\t> "):
			want = append(want, strings.Join(strings.Fields(way+" "+w.fill(line[3:])), " "))
		}
	}
	return want
}

// Every change is in the audit log, whoever asked and through whichever interface: a walk through all verbs, which
// leaves none out.
func TestEveryActIsWrittenDown(t *testing.T) {
	w := openWalk(t)
	seen := w.compare(w.through(func(string) bool { return false }))
	for _, v := range api.Verbs() {
		for _, way := range []api.Origin{api.CLI, api.Network} {
			if v.Acts() && !seen[string(way)+" "+v.Method+" "+v.Path] {
				t.Errorf("testdata/acts/acts.txt leaves out %s %s by %s", v.Method, v.Path, way)
			}
		}
		if v.Name == api.TableVerb && !seen[string(api.Console)+" "+v.Method+" "+v.Path] {
			t.Errorf("testdata/acts/acts.txt leaves out %s %s by the console", v.Method, v.Path)
		}
	}
}

// Where no gateway runs the command line does the same, and it is written down in the same words.
func TestActsWithoutAGateway(t *testing.T) {
	w := openWalk(t)
	w.app.Close()
	want := w.through(func(step string) bool {
		for _, needs := range []string{"cli greylist", "cli learn correspondents", "cli reload"} {
			if strings.HasPrefix(step, needs) {
				return true
			}
		}
		return !strings.HasPrefix(step, "cli ")
	})
	for i, line := range want {
		if strings.HasPrefix(line, "cli policy") {
			want[i] = strings.Replace(line, "| done", "| done, the gateway was not told", 1)
		}
	}
	w.compare(want)
}

// compare compares with the log of acts, and gives the verbs that stand there, with the way.
func (w *walk) compare(want []string) map[string]bool {
	w.t.Helper()
	var got []string
	seen := map[string]bool{}
	shown := w.run("audit", "--limit", "1000")
	for line := range strings.Lines(w.run("audit", "--limit", "1000", "--json")) {
		var a api.Act
		w.check(json.Unmarshal([]byte(line), &a))
		if a.Time.IsZero() || a.Who != map[api.Origin]string{api.CLI: whoami(), api.Network: "storm", api.Console: "admin"}[a.From] || !strings.Contains(shown, a.What+"  "+a.Outcome) && a.What != "" {
			w.t.Errorf("who did it, or it is not shown: %+v", a)
		}
		got = append(got, asIfWritten(a))
		seen[string(a.From)+" "+a.Verb] = true
	}
	slices.Reverse(got)
	if !slices.Equal(got, want) {
		w.t.Errorf("the log says\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	return seen
}

// Each verb that changes something is a command, whose help is the table's.
func TestEveryVerbIsACommand(t *testing.T) {
	parser, err := kong.New(&cli{}, kong.Name("postern"), kong.Vars(helps()))
	if err != nil {
		t.Fatal(err)
	}
	help := map[string]string{}
	var walk func(n *kong.Node, name string)
	walk = func(n *kong.Node, name string) {
		for _, child := range n.Children {
			if child.Type == kong.CommandNode {
				path := strings.TrimSpace(name + " " + child.Name)
				help[path] = child.Help
				walk(child, path)
			}
		}
	}
	walk(parser.Model.Node, "")
	for _, v := range api.Verbs() {
		switch text, ok := help[v.Name]; {
		case !v.Acts() || v.Name == api.TableVerb: // those have a command each: bans lift
		case !ok:
			t.Errorf("%s %s is no command: %q", v.Method, v.Path, v.Name)
		case text != v.Help && v.Name != "policy canary":
			t.Errorf("postern %s --help says %q, the table %q", v.Name, text, v.Help)
		}
	}
}
