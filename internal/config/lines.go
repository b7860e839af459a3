package config

import (
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// Lines says on which line a key stands. Keys are dotted, quoted where TOML wants it, tables of an array numbered from
// 0: `door[1].listen`, `next_hop."example.com".addresses`.
type Lines map[string]int

// IndexLines finds the line of every key. A file that is not TOML gives the lines up to its first error.
func IndexLines(text []byte) Lines {
	lines, _ := index(text)
	return lines
}

// index finds the line of every key and the kind of every value. Its keys are in lower case, as TOML's are matched
// with those of structs without regard to it.
func index(text []byte) (Lines, map[string]unstable.Kind) {
	ix := indexer{lines: Lines{}, kinds: map[string]unstable.Kind{}, arrays: map[string]int{}}
	ix.parser.Reset(text)
	table := ""
	for ix.parser.NextExpression() {
		switch e := ix.parser.Expression(); e.Kind {
		case unstable.Table:
			table = ix.key("", e.Key(), false)
		case unstable.ArrayTable:
			table = ix.key("", e.Key(), true)
		case unstable.KeyValue:
			ix.keyValue(table, e)
		}
	}
	return ix.lines, ix.kinds
}

type indexer struct {
	parser unstable.Parser
	lines  Lines
	kinds  map[string]unstable.Kind
	arrays map[string]int // how many tables an array has so far
}

// key walks the parts of a key below the path and gives the whole path.
func (ix *indexer) key(path string, parts unstable.Iterator, array bool) string {
	for parts.Next() {
		node := parts.Node()
		path = JoinKey(path, strings.ToLower(string(node.Data)))
		last := parts.IsLast()
		switch n, isArray := ix.arrays[path]; {
		case last && array:
			ix.arrays[path] = n + 1
			ix.note(path, node)
			path += "[" + strconv.Itoa(n) + "]"
		case isArray: // a key below [[array]] means its newest table
			path += "[" + strconv.Itoa(n-1) + "]"
		}
		ix.note(path, node)
	}
	return path
}

func (ix *indexer) note(path string, node *unstable.Node) {
	if _, seen := ix.lines[path]; !seen {
		ix.lines[path] = ix.parser.Shape(node.Raw).Start.Line
	}
}

func (ix *indexer) keyValue(table string, e *unstable.Node) {
	ix.value(ix.key(table, e.Key(), false), e.Value())
}

func (ix *indexer) value(path string, v *unstable.Node) {
	ix.kinds[path] = v.Kind
	switch v.Kind {
	case unstable.InlineTable:
		for it := v.Children(); it.Next(); {
			ix.keyValue(path, it.Node())
		}
	case unstable.Array:
		n := 0
		for it := v.Children(); it.Next(); {
			if it.Node().Kind == unstable.Comment {
				continue
			}
			element := path + "[" + strconv.Itoa(n) + "]"
			if len(it.Node().Data) > 0 {
				ix.note(element, it.Node())
			}
			ix.value(element, it.Node())
			n++
		}
	}
}

// Line gives the line of a key, or of the nearest table around it that the file has; 0 if it has none.
func (l Lines) Line(key string) int {
	for key = strings.ToLower(key); key != ""; key = parentKey(key) {
		if n, ok := l[key]; ok {
			return n
		}
	}
	return 0
}

// parentKey cuts the last part off: a number in brackets or what stands behind the last dot outside quotes.
func parentKey(key string) string {
	quoted := false
	cut := 0
	for i := range len(key) {
		switch c := key[i]; {
		case c == '"' && (i == 0 || key[i-1] != '\\'):
			quoted = !quoted
		case !quoted && (c == '.' || c == '['):
			cut = i
		}
	}
	return key[:cut]
}

// JoinKey puts a name behind a path, in quotes where TOML wants it.
func JoinKey(path, name string) string {
	if name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		name = strconv.Quote(name)
	}
	if path == "" {
		return name
	}
	return path + "." + name
}
