package layers

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A switch over words of the house (stages, fates, actions, dispositions, verdicts, protocols, states: each exported type that
// has constants of its own) names all of them, or says in a default what holds for the others. So who adds a word is led to
// every place that must know it.
func TestSwitchesNameEveryWord(t *testing.T) {
	fset, all := read(t)
	words := wordsOf(all)
	for _, s := range all {
		ast.Inspect(s.ast, func(n ast.Node) bool {
			sw, ok := n.(*ast.SwitchStmt)
			if !ok || sw.Tag == nil {
				return true
			}
			kind, missing := words.missing(s, sw)
			switch {
			case kind == "":
			case hasDefault(sw) && !explained(s, sw):
				t.Errorf("%s: this switch over %s has an empty default: say in it what holds for the other words", at(fset, sw), kind)
			case !hasDefault(sw) && len(missing) > 0:
				t.Errorf("%s: this switch over %s has no default and leaves out %s", at(fset, sw), kind, strings.Join(missing, ", "))
			}
			return true
		})
	}
}

// words are the constants of the house: by package and name, what their type is.
type words struct {
	typeOf map[string]string   // "internal/mail.Accept" to "internal/mail.Disposition"
	names  map[string][]string // of a type, but for a constant that is an alias of another
}

// wordsOf collects the constants of all named types, and those that other packages pass on.
func wordsOf(all []source) words {
	w := words{typeOf: map[string]string{}, names: map[string][]string{}}
	for _, s := range all {
		for _, d := range s.ast.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.CONST {
				w.declared(s, g)
			}
		}
	}
	for _, s := range all {
		for _, d := range s.ast.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.CONST {
				w.passedOn(s, g)
			}
		}
	}

	return w
}

// declared takes the constants of a group whose type is named, on their line or above it.
func (w *words) declared(s source, g *ast.GenDecl) {
	named := ""
	for _, spec := range g.Specs {
		v := spec.(*ast.ValueSpec)
		if len(v.Values) > 0 {
			named = ""
			if id, ok := v.Type.(*ast.Ident); ok && id.IsExported() && !grammar(s.pkg) {
				named = s.pkg + "." + id.Name
			}
		}
		for _, name := range v.Names {
			if named == "" || name.Name == "_" {
				continue
			}
			w.typeOf[s.pkg+"."+name.Name] = named
			w.names[named] = append(w.names[named], name.Name)
		}
	}
}

// grammar says whether a package reads a format or a language: its types are that one's, and a switch picks what it looks for.
func grammar(pkg string) bool {
	return strings.HasPrefix(pkg, "internal/mimeview") || strings.HasPrefix(pkg, "rules/")
}

// passedOn takes the constants that are those of another package by another name.
func (w *words) passedOn(s source, g *ast.GenDecl) {
	for _, spec := range g.Specs {
		v := spec.(*ast.ValueSpec)
		for i, value := range v.Values {
			if kind := w.typeOf[key(s, value)]; kind != "" && v.Type == nil {
				w.typeOf[s.pkg+"."+v.Names[i].Name] = kind
			}
		}
	}
}

// missing gives the type that a switch is over, by the words in its cases, and those that it leaves out.
func (w words) missing(s source, sw *ast.SwitchStmt) (kind string, left []string) {
	seen := map[string]bool{}
	for _, c := range sw.Body.List {
		for _, label := range c.(*ast.CaseClause).List {
			k := key(s, label)
			if of := w.typeOf[k]; of != "" {
				kind = of
				seen[k[strings.LastIndexByte(k, '.')+1:]] = true
			}
		}
	}
	for _, name := range w.names[kind] {
		if !seen[name] {
			left = append(left, name)
		}
	}

	return kind, left
}

func hasDefault(sw *ast.SwitchStmt) bool {
	return slices.ContainsFunc(sw.Body.List, func(c ast.Stmt) bool { return c.(*ast.CaseClause).List == nil })
}

// explained says whether a default does something, or has a comment.
func explained(s source, sw *ast.SwitchStmt) bool {
	for i, c := range sw.Body.List {
		clause := c.(*ast.CaseClause)
		if clause.List != nil || len(clause.Body) > 0 {
			continue
		}
		end := sw.Body.Rbrace
		if i+1 < len(sw.Body.List) {
			end = sw.Body.List[i+1].Pos()
		}
		if !slices.ContainsFunc(s.ast.Comments, func(g *ast.CommentGroup) bool { return g.Pos() > clause.Colon && g.End() < end }) {
			return false
		}
	}

	return true
}

// key is how a constant is known: by the folder of its package and its name; "" for what is none of ours.
func key(s source, e ast.Expr) string {
	switch x := e.(type) {
	case *ast.Ident:
		return s.pkg + "." + x.Name
	case *ast.SelectorExpr:
		id, ok := x.X.(*ast.Ident)
		if !ok {
			return ""
		}
		for _, i := range s.ast.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if name := path.Base(p); err == nil && (i.Name == nil && name == id.Name || i.Name != nil && i.Name.Name == id.Name) {
				return strings.TrimPrefix(p, module+"/") + "." + x.Sel.Name
			}
		}
	}

	return ""
}

// The test above finds what it looks for: a word that is left out, under its own name and one that it was passed on by, and a
// default that says nothing.
func TestLeftOutWordsAreFound(t *testing.T) {
	fset := token.NewFileSet()
	parse := func(pkg, text string) source {
		f, err := parser.ParseFile(fset, pkg, text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		return source{pkg, pkg, f}
	}
	a := parse("a", "package a\ntype W string\nconst (\nX W = \"x\"\nY W = \"y\"\n)\ntype N int\nconst (\nOne N = iota\nTwo\n)\n")
	b := parse("b", "package b\nimport \"postern/a\"\nconst X, Y = a.X, a.Y\n")
	words := wordsOf([]source{a, b})

	for body, want := range map[string]string{
		"case a.X:":                           "a.W Y true",
		"case a.X, a.Y:":                      "a.W  true",
		"case b.Y:":                           "a.W X true",
		"case a.Two:":                         "a.N One true",
		"case a.X:\ndefault:\n":               "a.W Y false",
		"case a.X:\ndefault: // the rest\n":   "a.W Y true",
		"case a.X:\ndefault:\nreturn\n":       "a.W Y true",
		"case \"x\", somethingElse, z.Two:\n": "  true",
	} {
		s := parse("c", "package c\nimport (\n\"postern/a\"\n\"postern/b\"\n)\nfunc f(w a.W) {\nswitch w {\n"+body+"\n}\n}\n")
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if sw, ok := n.(*ast.SwitchStmt); ok {
				kind, left := words.missing(s, sw)
				if got := fmt.Sprint(kind, " ", strings.Join(left, " "), " ", explained(s, sw)); got != want {
					t.Errorf("%q: %q, want %q", body, got, want)
				}
			}
			return true
		})
	}
}
