package layers

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "postern"

// source is one Go file that ships.
type source struct {
	file string // from the module's root
	pkg  string // its folder from the module's root
	ast  *ast.File
}

func read(t *testing.T) (*token.FileSet, []source) {
	t.Helper()
	root := filepath.Join("..", "..")
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var all []source
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if base := d.Name(); rel != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "vendor") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(fset, rel, text, parser.ParseComments)
		if err != nil {
			return err
		}
		all = append(all, source{rel, path.Dir(rel), f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return fset, all
}

// folders at the top and below internal/ are closed lists: a new one is a decision, not a habit.
func closed() map[string][]string {
	return map[string][]string{
		".":        {"cmd", "proxy", "filters", "policy", "rules", "internal", "deploy", "docs"},
		"internal": {"mail", "mimeview", "dns", "state", "sqldb", "config", "testing", "layers"},
	}
}

func TestFoldersAreAClosedList(t *testing.T) {
	for dir, allowed := range closed() {
		entries, err := os.ReadDir(filepath.Join("..", "..", dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && !slices.Contains(allowed, e.Name()) {
				t.Errorf("%s: a folder that is not in the list of layers_test.go", path.Join(dir, e.Name()))
			}
		}
	}
}

// layer is how high a package stands: imports point down.
func layer(pkg string) int {
	top, rest, nested := strings.Cut(pkg, "/")
	switch {
	case top == "cmd":
		return 6
	case top == "proxy" && nested:
		return 5
	case top == "proxy":
		return 4
	case top == "policy":
		return 3
	case top == "filters":
		return 2
	case top == "rules":
		return 1
	case pkg == "internal/testing", strings.HasPrefix(pkg, "internal/testing/"): // servers and harnesses: what ships imports none of it
		return 7
	case top == "internal" && rest != "":
		return 0
	}
	return -1
}

// refusal says why one package must not import another, "" if it may.
func refusal(from, to string) string {
	isFilter := strings.HasPrefix(to, "filters/")
	switch {
	case layer(to) > layer(from):
		return "imports point down: internal/testing, cmd, proxy/*, proxy, policy, filters, rules, internal"
	case isDoor(doorOf(to)) && layer(from) < 6 && doorOf(from) != doorOf(to):
		return "a door is known to cmd only: what doors share stands below them"
	case isFilter && from != "filters/all" && layer(from) < 6 && filterOf(from) != filterOf(to):
		return "a filter is known to filters/all and cmd only"
	case to == "internal/layers":
		return "there is nothing in it"
	}
	return ""
}

// isDoor says whether a package speaks a protocol with clients.
func isDoor(pkg string) bool {
	return slices.Contains([]string{"proxy/smtpd", "proxy/imapd", "proxy/pop3d", "proxy/console"}, pkg)
}

// doorOf names the door that a package is part of: "proxy/imapd" for proxy/imapd and proxy/imapd/wire.
func doorOf(pkg string) string {
	all := strings.SplitN(pkg, "/", 3)
	return strings.Join(all[:min(len(all), 2)], "/")
}

// filterOf names the filter that a package is part of: "dkim" for filters/dkim and filters/dkim/signature.
func filterOf(pkg string) string {
	rest, ok := strings.CutPrefix(pkg, "filters/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

func TestRefusals(t *testing.T) {
	for pair, allowed := range map[[2]string]bool{
		{"cmd/postern", "filters/spf"}: true, {"filters/all", "filters/spf"}: true, {"filters/dkim", "filters/dkim/signature"}: true,
		{"proxy/smtpd", "proxy"}: true, {"proxy", "policy/records/ledger"}: true, {"policy", "filters"}: true, {"filters/spf", "internal/dns"}: true,
		{"filters/spf", "filters/dkim"}: false, {"filters/spf", "policy"}: false, {"proxy", "proxy/smtpd"}: false, {"policy", "proxy"}: false,
		{"proxy/imapd", "proxy/imapd/wire"}: true, {"proxy/pop3d", "proxy/line"}: true, {"proxy/pop3d", "proxy/imapd/wire"}: false,
		{"proxy/frame", "proxy/smtpd"}: false, {"proxy/smtpd", "internal/testing/lab"}: false, {"internal/testing/filtertest", "filters"}: true, {"internal/mail", "filters"}: false, {"proxy/smtpd", "filters/spf"}: false, {"policy", "filters/spf"}: false,
	} {
		if why := refusal(pair[0], pair[1]); (why == "") != allowed {
			t.Errorf("%s imports %s: %q", pair[0], pair[1], why)
		}
	}
}

func TestImportsPointDown(t *testing.T) {
	fset, all := read(t)
	for _, s := range all {
		for _, spec := range s.ast.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			to, ours := strings.CutPrefix(imported, module+"/")
			if !ours {
				continue
			}
			if why := refusal(s.pkg, to); why != "" {
				t.Errorf("%s: %s imports %s: %s", at(fset, spec), s.pkg, to, why)
			}
		}
	}
}

// Policy is a pure function of facts: it can't ask the clock, the network, the disk or chance.
func TestPolicyIsPure(t *testing.T) {
	impure := []string{
		"time", "net", "os", "io/fs", "io/ioutil", "path/filepath", "database/sql", "log", "log/slog", "math/rand", "math/rand/v2",
		"crypto/rand", "crypto/tls", "sync", "sync/atomic", "context", "runtime", "syscall", "unsafe",
		module + "/internal/dns", module + "/internal/state", module + "/internal/sqldb",
	}
	allowed := []string{"net/netip", "net/mail"} // addresses and their grammar; neither opens anything
	fset, all := read(t)
	for _, s := range all {
		if s.pkg != "policy" {
			continue
		}
		for _, spec := range s.ast.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			bad := slices.ContainsFunc(impure, func(one string) bool { return name == one || strings.HasPrefix(name, one+"/") })
			if bad && !slices.Contains(allowed, name) {
				t.Errorf("%s: policy imports %s: its verdicts would no longer depend on the facts alone", at(fset, spec), name)
			}
		}
	}
}

// Good code of this field has a p90 of 42 to 48 lines; longer functions are where the bugs of mail servers live.
func TestFunctionsAndFilesAreShort(t *testing.T) {
	const p90, longest, file = 45, 60, 500
	fset, all := read(t)
	var lengths []int
	for _, s := range all {
		if ast.IsGenerated(s.ast) {
			continue
		}
		if n := fset.File(s.ast.Pos()).LineCount(); n > file {
			t.Errorf("%s:1: %d lines, %d are the limit: part it by what it is about", s.file, n, file)
		}
		for _, d := range s.ast.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			n := fset.Position(f.End()).Line - fset.Position(f.Pos()).Line + 1
			lengths = append(lengths, n)
			if n > longest {
				t.Errorf("%s: %s has %d lines, %d are the limit", at(fset, f), f.Name.Name, n, longest)
			}
		}
	}
	slices.Sort(lengths)
	if len(lengths) == 0 {
		t.Fatal("no functions")
	}
	if got := lengths[len(lengths)*9/10]; got > p90 {
		t.Errorf("one function in ten is longer than %d lines, %d are the limit", got, p90)
	}
	t.Logf("%d functions: median %d, p90 %d, longest %d lines", len(lengths), lengths[len(lengths)/2], lengths[len(lengths)*9/10], lengths[len(lengths)-1])
}

// main wires: what happens before it, happens behind its back.
func TestNoInit(t *testing.T) {
	fset, all := read(t)
	for _, s := range all {
		for _, d := range s.ast.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: func init: let main wire it", at(fset, f))
			}
		}
	}
}

// Small interfaces are declared by those who use them.
func TestInterfacesAreSmall(t *testing.T) {
	const limit = 3
	fset, all := read(t)
	for _, s := range all {
		ast.Inspect(s.ast, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			i, ok := spec.Type.(*ast.InterfaceType)
			if ok && spec.Name.IsExported() && i.Methods.NumFields() > limit {
				t.Errorf("%s: interface %s has %d methods, %d are the limit: part it by who uses it", at(fset, spec), spec.Name.Name, i.Methods.NumFields(), limit)
			}
			return true
		})
	}
}

func at(fset *token.FileSet, n ast.Node) string {
	p := fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}
