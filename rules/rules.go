// Package rules is the language of the content rules: SpamAssassin's .cf. A rule looks at header fields, text, links, parts
// or the whole message with a regular expression, calls a function (package eval), or combines other rules (meta).
//
// What a rule file means is what SpamAssassin makes of it: its files, its conditions, its views of a message (package
// views), its values of metas. One bad line never takes a set down: it is a Problem, with file and line and what it costs.
// Rules of the gateway's own see more than SpamAssassin's: what readers see who take letters by their looks.
package rules

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"postern/rules/eval"
	"postern/rules/perlre"
	"postern/rules/views"
)

// File is a file of rules. Foreign says that it was written for SpamAssassin: its rules see that program's views, and a name
// of theirs that a filter has already is left to the filter.
type File struct {
	Name, Text string
	Foreign    bool
	// Included are the files that its include lines name, and those that these name.
	Included []Included
}

// Set is a set of rules, ready to match. It is immutable and serves many messages at once.
type Set struct {
	rules     []*rule
	byName    map[string]*rule
	config    *eval.Config
	functions map[string]eval.Func
	redirects []views.Redirector
	origin    []string
	networks  networks
	captures  map[string][]*rule
	groups    []*group
	reporting []*rule // the rules that are run for themselves, in file order
	// asks says that rules look names up.
	asks, network, foreign bool
	files                  bool // rules ask what attachments carry
	// headOnly says that rules need no more of the message itself than its header, or now and then the headers of its parts.
	headOnly bool
	coverage Coverage
	rooms    sync.Pool // of *room
}

// Symbol is what is known of a rule that reports.
type Symbol struct {
	Name     string
	Score    float64
	Describe string
	File     string
	Line     int
	// Unweighed says that it stands in a file whose rules nobody weighed: its score is the one that rules have without.
	Unweighed bool
}

// Hit is a rule that matched.
type Hit struct {
	Rule string
	// Evidence is what it matched, "" for a rule that combines others. Count is how often.
	Evidence string
	Count    int
}

type kind int

const (
	kindHeader kind = iota
	kindBody
	kindRaw
	kindURI
	kindFull
	kindMeta
	kindPart
	kindEval
	kindDetail
	kindDNS
	kindEmpty
)

// String is the word for a kind in rule files.
func (k kind) String() string {
	return [...]string{"header", "body", "rawbody", "uri", "full", "meta", "mimeheader", "eval", "uri_detail", "askdns", "reuse"}[k]
}

type rule struct {
	name    string
	kind    kind
	file    string
	line    int
	foreign bool
	// left says that a filter has a symbol of this name: the rule serves others, and does not report.
	left bool

	spec   views.Spec
	exists bool
	unset  string
	hasUn  bool
	negate bool // !~
	expr   string
	re     *perlre.Regexp
	// templates are the captures that the expression holds the values of.
	templates []string
	// loose is what is looked for in the common pass: the expression, with anything where captures are filled in.
	loose *perlre.Regexp
	id    int // its place in the set
	group *group
	index int // in its group, if it is joined
	// joined says that it is looked for in the common pass; skips, that it does not hold where that does not find it.
	joined, skips bool
	known         eval.Func // its function, nil if it has none

	meta     *expr
	function string
	args     []string
	details  []detail
	query    dnsQuery

	scores [4]float64
	scored bool // a score line stands for it
	// unweighed says that no line weighs it, nor many others of its file.
	unweighed bool
	score     float64
	describe  string
	flags     string
	multiple  bool
	maxHits   int
	// What its flags say: it needs what was learned, the network, and no subject.
	learns, asks, noSubject bool
	// broken says why it can't be run, "" if it can.
	broken string
	live   bool
}

// hidden rules only serve metas.
func (r *rule) hidden() bool { return strings.HasPrefix(r.name, "__") }

func (r *rule) flag(name string) bool { return slices.Contains(strings.Fields(r.flags), name) }

// standard is the score of a rule that no line gives one.
func (r *rule) standard() float64 {
	score := 1.0
	if strings.HasPrefix(r.name, "T_") {
		score = 0.01
	}
	if r.flag("nice") {
		return -score
	}
	return score
}

// off says whether a score of 0 switches the rule off.
func (r *rule) off() bool { return r.score == 0 }

// reports says whether the rule is a symbol.
func (r *rule) reports() bool { return !r.hidden() && !r.off() && !r.left && r.broken == "" }

// Symbols lists the rules that can report, in file order.
func (s *Set) Symbols() []Symbol {
	var all []Symbol
	for _, r := range s.rules {
		if r.reports() {
			all = append(all, Symbol{r.name, r.score, r.describe, r.file, r.line, r.unweighed})
		}
	}
	return all
}

// Coverage says how many rules have a score, and how many of those work with all that they need.
type Coverage struct{ Scored, Whole int }

// Coverage tells how much of the files works.
func (s *Set) Coverage() Coverage { return s.coverage }

// Len is the number of rules, hidden ones included.
func (s *Set) Len() int { return len(s.rules) }

// ReadFiles reads all files of a folder that hold rules: what plugins there are (.pre), then rules (.cf), each in the order
// of their names.
func ReadFiles(dir fs.FS) ([]File, error) {
	var files []File
	for _, pattern := range []string{"*.pre", "*.cf"} {
		names, err := fs.Glob(dir, pattern)
		if err != nil {
			return nil, err
		}
		slices.Sort(names)
		for _, n := range names {
			text, err := fs.ReadFile(dir, n)
			if err != nil {
				return nil, err
			}
			files = append(files, File{Name: path.Base(n), Text: string(text), Included: included(dir, n, string(text))})
		}
	}
	return files, nil
}

// ReadFolders reads folders of rules for SpamAssassin as that program does: what plugins there are in all of them first, then
// the rules of each.
func ReadFolders(folders ...string) ([]File, error) {
	var plugins, rules []File
	for _, dir := range folders {
		if _, err := os.Stat(dir); err != nil {
			return nil, fmt.Errorf("read the folder of rules: %w", err)
		}
		files, err := ReadFiles(os.DirFS(dir))
		if err != nil {
			return nil, fmt.Errorf("read the folder of rules: %w", err)
		}
		for _, f := range files {
			if strings.HasSuffix(f.Name, ".pre") {
				plugins = append(plugins, f)
			} else {
				rules = append(rules, f)
			}
		}
	}
	return Foreign(append(plugins, rules...)), nil
}

// Foreign marks files as written for SpamAssassin.
func Foreign(files []File) []File {
	out := slices.Clone(files)
	for i := range out {
		out[i].Foreign = true
	}
	return out
}

// Problem is a line that was left out, or a rule that does not do what it says, and why.
type Problem struct {
	File string
	Line int
	Text string
	Why  string
	// Kind sorts problems.
	Kind ProblemKind
	// Rule is the rule it is about, "" if it is about none; Points is its score.
	Rule   string
	Points float64
	// Taken says that the rule bears a name that stands for something else already.
	Taken bool
}

// ProblemKind is the kind of a problem.
type ProblemKind string

// The kinds of problems.
const (
	// BadLine can't be read.
	BadLine ProblemKind = "bad line"
	// Unsupported asks for a function or a plugin that is not there.
	Unsupported ProblemKind = "unsupported"
	// Lost is a meta that needs a rule that is not there or can't be run.
	Lost ProblemKind = "lost by dependency"
	// Loose is a meta that may hold only because a rule it needs is not there.
	Loose ProblemKind = "true because something is missing"
	// Skipped is a block of lines under a condition that does not hold here and would in SpamAssassin.
	Skipped ProblemKind = "skipped block"
	// NameTaken is a rule whose name is a filter's symbol.
	NameTaken ProblemKind = "name is taken"
	// NoWeights is a file whose rules have no scores: the file that weighs them is not there.
	NoWeights ProblemKind = "scores are missing"
	// Left is a rule of others whose name is a filter's symbol: the filter reports it.
	Left ProblemKind = "left to the filter"
)

// Note says that nothing is wrong: it is as it is.
func (p Problem) Note() bool { return p.Kind == Left || p.Kind == Skipped || p.Kind == NoWeights }

// String is the problem as one line: file, line, reason.
func (p Problem) String() string {
	points := ""
	if p.Points != 0 {
		points = fmt.Sprintf(" (%g points)", p.Points)
	}
	return fmt.Sprintf("%s:%d: %s: %s%s", p.File, p.Line, p.Text, p.Why, points)
}
