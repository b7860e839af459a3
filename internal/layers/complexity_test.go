package layers

import (
	"go/ast"
	"go/token"
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
