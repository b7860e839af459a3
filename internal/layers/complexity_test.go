package layers

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"testing"
)

// What a reader has to keep in mind: the ways through a function, as McCabe counts them, and the terms of a condition.
func TestFunctionsAreSimple(t *testing.T) {
	const limit = 15
	fset, all := read(t)
	for _, s := range all {
		for _, d := range s.ast.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := complexity(f); n > limit {
				t.Errorf("%s: %s has %d ways through it, %d are the limit: give what it decides functions of their own", at(fset, f), f.Name.Name, n, limit)
			}
		}
	}
}

// complexity is the cyclomatic complexity: one, and one more for each branch, loop, case, && and ||.
func complexity(f *ast.FuncDecl) int {
	n := 1
	ast.Inspect(f, func(node ast.Node) bool {
		switch x := node.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt:
			n++
		case *ast.CaseClause:
			if x.List != nil {
				n++
			}
		case *ast.CommClause:
			if x.Comm != nil {
				n++
			}
		case *ast.BinaryExpr:
			if x.Op == token.LAND || x.Op == token.LOR {
				n++
			}
		}
		return true
	})

	return n
}

// crowded are the folders and files whose conditions may still join more terms than a reader takes in at a glance. The list
// only gets shorter.
func crowded() []string {
	return []string{
		"cmd/postern", "cmd/postern/app", "cmd/postern/demo", "filters", "filters/attachments", "filters/clamav",
		"filters/content", "filters/correspondents", "filters/dmarc", "filters/dnslists", "filters/harvest",
		"filters/headers", "filters/impersonation", "filters/links", "filters/mime", "filters/rspamd", "filters/spf",
		"filters/spf/checkhost", "internal/mail/authres.go", "internal/mail/signature", "internal/state",
		"internal/testing/lab", "internal/testing/perlcases", "policy", "policy/records/ledger",
		"policy/records/lists", "policy/records/quarantine", "policy/records/recall", "policy/replay",
		"policy/reports/digest", "policy/reports/dmarcreport", "policy/reports/tlsreport", "proxy", "proxy/access",
		"proxy/digests", "proxy/frame", "proxy/line", "proxy/queue", "proxy/relay", "proxy/sasl", "proxy/smtpd",
		"rules", "rules/eval", "rules/perlre", "rules/perlre/syntax", "rules/relays", "rules/scan", "rules/views",
	}
}

// A condition of many terms says how something is recognised, not what it is: a function or a variable gives it a name.
func TestConditionsAreShort(t *testing.T) {
	const limit = 3
	fset, all := read(t)
	for _, s := range all {
		if slices.Contains(crowded(), s.pkg) || slices.Contains(crowded(), s.file) {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if i, ok := n.(*ast.IfStmt); ok && terms(i.Cond) > limit {
				t.Errorf("%s: a condition of %d terms, %d are the limit: give what it says a name", at(fset, i), terms(i.Cond), limit)
			}
			return true
		})
	}
}

// terms counts what && and || join.
func terms(e ast.Expr) int {
	switch x := e.(type) {
	case *ast.ParenExpr:
		return terms(x.X)
	case *ast.UnaryExpr:
		if x.Op == token.NOT {
			return terms(x.X)
		}
	case *ast.BinaryExpr:
		if x.Op == token.LAND || x.Op == token.LOR {
			return terms(x.X) + terms(x.Y)
		}
	}
	return 1
}

func TestTermsAreCounted(t *testing.T) {
	for text, want := range map[string]int{"a": 1, "a && b || !(c && d)": 4, "f(a && b) == c": 1, "!a": 1} {
		e, err := parser.ParseExpr(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := terms(e); got != want {
			t.Errorf("%s: %d terms, not %d", text, got, want)
		}
	}
}
