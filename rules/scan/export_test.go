package scan

import "postern/rules/perlre/syntax"

// FromTrees prepares trees, which a test may have broken.
func FromTrees(trees []*syntax.Tree, o Options) *Set { return newSet(trees, o) }
