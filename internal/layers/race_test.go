package layers

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What norace.txt keeps from the race detector starts no goroutine, and each of its tests that does is named there.
func TestOnlyPackagesWithoutGoroutinesAreKeptFromTheRaceDetector(t *testing.T) {
	for pkg, named := range withoutRace(t) {
		if outside(named) {
			continue
		}
		files, err := filepath.Glob(filepath.Join("..", "..", pkg, "*.go"))
		if err != nil || len(files) == 0 {
			t.Errorf("%s: norace.txt names a package that is not there", pkg)
		}
		var found []string
		for _, file := range files {
			for _, name := range concurrent(t, file) {
				if strings.HasPrefix(name, "Test") && strings.HasSuffix(file, "_test.go") {
					found = append(found, name)
				} else {
					t.Errorf("%s: %s starts a goroutine: take %s out of norace.txt, or start it in the test itself", file, name, pkg)
				}
			}
		}
		slices.Sort(found)
		slices.Sort(named)
		if !slices.Equal(found, named) {
			t.Errorf("%s: the tests that start goroutines are %q, norace.txt has %q", pkg, found, named)
		}
	}
}

// What norace.txt calls outside ships nothing, and each of its tests that opens a gateway in its own process is named there.
func TestOnlyWhatLooksFromOutsideIsKeptFromTheRaceDetector(t *testing.T) {
	for pkg, named := range withoutRace(t) {
		if !outside(named) {
			continue
		}
		files, err := filepath.Glob(filepath.Join("..", "..", pkg, "*.go"))
		if err != nil || len(files) == 0 {
			t.Errorf("%s: norace.txt names a package that is not there", pkg)
		}
		var found []string
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				t.Errorf("%s: %s is no test: take %s out of norace.txt", pkg, file, pkg)
			}
			found = append(found, opening(t, file)...)
		}
		slices.Sort(found)
		if !slices.Equal(found, named[1:]) {
			t.Errorf("%s: the tests that open a gateway are %q, norace.txt has %q", pkg, found, named[1:])
		}
	}
}

func outside(named []string) bool { return len(named) > 0 && named[0] == "outside" }

// opening names the tests of a file that imports the gateway.
func opening(t *testing.T, file string) (names []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	gateway := func(s *ast.ImportSpec) bool { return s.Path.Value == `"postern/cmd/postern/app"` }
	if !slices.ContainsFunc(parsed.Imports, gateway) {
		return nil
	}
	for _, d := range parsed.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(f.Name.Name, "Test") && f.Name.Name != "TestMain" {
			names = append(names, f.Name.Name)
		}
	}

	return names
}

// withoutRace reads norace.txt: the packages and their tests that run with the race detector all the same.
func withoutRace(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("norace.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 0 && !strings.HasPrefix(line, "#") {
			all[words[0]] = words[1:]
		}
	}

	return all
}

// concurrent names the functions of a file that start goroutines: by a go statement, by the Go of a group, by a timer or
// as a test beside others.
func concurrent(t *testing.T, file string) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range parsed.Decls {
		name := "a variable"
		if f, ok := d.(*ast.FuncDecl); ok {
			name = f.Name.Name
		}
		starts := false
		ast.Inspect(d, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.GoStmt:
				starts = true
			case *ast.CallExpr:
				called, ok := x.Fun.(*ast.SelectorExpr)
				starts = starts || ok && slices.Contains([]string{"Go", "AfterFunc", "Parallel"}, called.Sel.Name) && !cancels(x)
			}
			return true
		})
		if starts {
			names = append(names, name)
		}
	}

	return names
}

// cancels says whether a call is an AfterFunc that ends a context and does nothing else.
func cancels(call *ast.CallExpr) bool {
	if len(call.Args) != 2 {
		return false
	}
	what, ok := call.Args[1].(*ast.Ident)

	return ok && what.Name == "cancel"
}
