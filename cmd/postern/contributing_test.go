package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The diffs in docs/contributing.md apply to the tree, build, and work as described.
func TestContributing(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "contributing.md"))
	if err != nil {
		t.Fatal(err)
	}
	tree := t.TempDir()
	for _, dir := range []string{"cmd", "proxy", "filters", "policy", "rules", "internal", "deploy", "docs"} {
		if err := os.CopyFS(filepath.Join(tree, dir), os.DirFS(filepath.Join(root, dir))); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(tree, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	in := func(input, program string, args ...string) string {
		t.Helper()
		c := exec.Command(program, args...)
		c.Dir, c.Stdin = tree, strings.NewReader(input)
		c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath") // as in make build: what is built already is taken
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	for _, what := range []string{"filter", "verb", "action", "column", "format"} {
		in(diff(t, string(page), what), "git", "apply", "-")
	}
	in("", "go", "build", "-o", "postern", "./cmd/postern")

	out := in("From: a@b.example\nSubject: BUY THIS NOW OR ELSE\n\nhello\n", "./postern", "check", "-")
	if !strings.Contains(out, "SUBJECT_SHOUTS") {
		t.Errorf("the new filter finds nothing:\n%s", out)
	}
	settings := "hostname = \"gw.test\"\ndata_dir = \"data\"\ndomains = [\"ours.test\"]\n[next_hop.\"ours.test\"]\naddresses = [\"127.0.0.1:9\"]\n[[door]]\nname = \"mx\"\nlisten = \"127.0.0.1:0\"\n"
	if err := errors.Join(os.WriteFile(filepath.Join(tree, "postern.toml"), []byte(settings), 0o600), os.Mkdir(filepath.Join(tree, "data"), 0o700)); err != nil {
		t.Fatal(err)
	}
	in("", "./postern", "note", "-c", "postern.toml", "upgrade tonight")
	if out := in("", "./postern", "audit", "-c", "postern.toml"); !strings.Contains(out, "note  upgrade tonight  done") {
		t.Errorf("the new verb leaves no record:\n%s", out)
	}
}

// diff cuts the diff of a name out of a page.
func diff(t *testing.T, page, name string) string {
	t.Helper()
	_, rest, found := strings.Cut(page, "```diff "+name+"\n")
	text, _, ended := strings.Cut(rest, "```")
	if !found || !ended {
		t.Fatalf("there is no diff %q", name)
	}

	return text
}
