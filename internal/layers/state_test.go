package layers

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// TestNoPackageState allows a package variable that is set where it is declared and that nothing in its package ever
// changes: a sentinel error, a compiled expression, a table, a Spec. It may not be declared empty, hold a lock or a
// channel, be assigned to (nor its fields or elements), counted up, or have its address taken.
func TestNoPackageState(t *testing.T) {
	fset, all := read(t)
	packages := map[string][]source{}
	for _, s := range all {
		packages[s.pkg] = append(packages[s.pkg], s)
	}
	for _, files := range packages {
		vars := map[string]*ast.ValueSpec{}
		for _, s := range files {
			for _, spec := range packageVars(s.ast) {
				if why := stateful(spec); why != "" {
					t.Errorf("%s: package variable %s %s", at(fset, spec), spec.Names[0].Name, why)
				}
				for _, name := range spec.Names {
					vars[name.Name] = spec
				}
			}
		}
		for _, s := range files {
			ast.Inspect(s.ast, func(n ast.Node) bool {
				for _, target := range changed(n) {
					id := root(target)
					if id == nil || vars[id.Name] == nil || local(id, vars[id.Name]) {
						continue
					}
					t.Errorf("%s: package variable %s is changed or pointed to: state belongs to a value that main makes", at(fset, n), id.Name)
				}
				return true
			})
		}
	}
}

// packageVars are the variables of a file, but for interface guards and embedded files.
func packageVars(f *ast.File) []*ast.ValueSpec {
	var found []*ast.ValueSpec
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, spec := range g.Specs {
			v := spec.(*ast.ValueSpec)
			if v.Names[0].Name == "_" || embedded(g.Doc) || embedded(v.Doc) {
				continue
			}
			found = append(found, v)
		}
	}
	return found
}

func embedded(doc *ast.CommentGroup) bool {
	if doc == nil {
		return false
	}
	for _, c := range doc.List {
		if strings.HasPrefix(c.Text, "//go:embed ") {
			return true
		}
	}
	return false
}

// stateful says what about a declaration makes it a place for state.
func stateful(v *ast.ValueSpec) string {
	if len(v.Values) == 0 {
		return "is declared empty: somebody means to fill it"
	}
	why := ""
	for _, value := range v.Values {
		ast.Inspect(value, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.FuncLit:
				return false // what it makes when it is called is its own
			case *ast.CallExpr:
				if id, ok := x.Fun.(*ast.Ident); ok && (id.Name == "make" || id.Name == "new") {
					why = "is made empty: somebody means to fill it"
				}
			case *ast.SelectorExpr:
				id, ok := x.X.(*ast.Ident)
				// a pool holds nothing that anybody could miss, a OnceValue never changes once it is known
				harmless := x.Sel.Name == "Pool" || strings.HasPrefix(x.Sel.Name, "Once")
				if ok && (id.Name == "sync" && !harmless || id.Name == "atomic") {
					why = "holds a lock or a counter"
				}
			}
			return true
		})
	}
	return why
}

// changed gives the expressions that a node changes or points to.
func changed(n ast.Node) []ast.Expr {
	switch x := n.(type) {
	case *ast.AssignStmt:
		if x.Tok != token.DEFINE {
			return x.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{x.X}
	case *ast.UnaryExpr:
		if x.Op == token.AND {
			return []ast.Expr{x.X}
		}
	case *ast.CallExpr:
		if id, ok := x.Fun.(*ast.Ident); ok && (id.Name == "delete" || id.Name == "clear") && len(x.Args) > 0 {
			return x.Args[:1]
		}
	}
	return nil
}

// root is the variable that an expression leads to: v of v.field[3].
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// local says whether a name means another variable than that of the package. The parser resolves names within a file;
// what it leaves open is the package's.
func local(id *ast.Ident, of *ast.ValueSpec) bool {
	return id.Obj != nil && id.Obj.Decl != of
}

// What the test above refuses, and what it doesn't.
func TestStateful(t *testing.T) {
	for text, want := range map[string]bool{
		`var errX = errors.New("x")`:                                           false,
		`var table = map[string]int{"a": 1}`:                                   false,
		`var fold = regexp.MustCompile("x")`:                                   false,
		`var once = sync.OnceValue(func() int { return len(make([]int, 1)) })`: false,
		`var count int`:                    true,
		`var seen = make(map[string]bool)`: true,
		`var mu = &sync.Mutex{}`:           true,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\n"+text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if got := stateful(packageVars(f)[0]) != ""; got != want {
			t.Errorf("%s: refused is %v", text, got)
		}
	}
}
