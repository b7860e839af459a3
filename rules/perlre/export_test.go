package perlre

import "postern/rules/perlre/syntax"

// FromTree compiles a tree, which a test may have broken.
func FromTree(tree *syntax.Tree) (*Regexp, error) {
	prog, err := compile(tree, tree.HasBackref)
	if err != nil {
		return nil, err
	}
	return &Regexp{tree: tree, prog: prog, look: newFinder(tree, prog.begin)}, nil
}
