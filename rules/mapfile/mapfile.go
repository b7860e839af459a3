// Package mapfile has maps: files with one entry a line, which content rules and policy look addresses, domains, networks and
// texts up in.
//
//	news@shop.example            owner=ann expires=2027-01-31   # the newsletter of purchasing
//	*@*.bank.example
//	partner.example
//	.partner.example             # all names below it
//	192.0.2.0/24                 owner=bob
//	/^invoice-\d+@/i
package mapfile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"

	"postern/rules/perlre"
	"postern/rules/scan"
)

// Kind is what the entries of a map are.
type Kind string

// The kinds. In a map of no kind each entry is what it looks like.
const (
	Any     Kind = ""
	Address Kind = "address"
	Domain  Kind = "domain"
	CIDR    Kind = "cidr"
	Regex   Kind = "regex"
)

// Limits of a map. What is beyond is a Problem, or, for a whole file, an error.
const (
	maxFile     = 64 << 20
	maxLine     = 4096
	maxEntries  = 1_000_000
	maxPatterns = 2000 // expressions, and as many addresses with * in the domain
	maxProblems = 1000
	maxValue    = 4096 // octets of a value that are looked at
)

// Steps are how many one question may take in all expressions.
const Steps = 300_000

// Entry is a line of a map.
type Entry struct {
	Line int    `json:"line"`
	Text string `json:"entry"`
	Kind Kind   `json:"kind"`
	// Owner, Expires (the last day on which it holds, as in "2027-01-31") and Comment are what the line says of itself.
	Owner   string `json:"owner,omitempty"`
	Expires string `json:"expires,omitempty"`
	Comment string `json:"comment,omitempty"`
}

// Expired says whether an entry does not hold any more on a day, as in "2027-01-31", of UTC.
func (e Entry) Expired(day string) bool { return e.Expires != "" && day > e.Expires }

// Problem is a line that was left out, and why.
type Problem struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Text string `json:"text"`
	Why  string `json:"why"`
}

// String is the problem as one line.
func (p Problem) String() string { return fmt.Sprintf("%s:%d: %s: %s", p.File, p.Line, p.Text, p.Why) }

// Map is a map as it was read. It is immutable and serves many at once.
type Map struct {
	name, file string
	kind       Kind
	sum        string
	entries    []Entry
	problems   []Problem
	expires    bool

	addresses, domains map[string][]int32 // "a@b.example"; "b.example" or ".b.example"
	globs              map[string][]glob  // by domain, "" for those with * in it
	networks           networks
	patterns           []pattern
	scan               *scan.Set
}

type glob struct {
	text  string
	entry int32
}

type pattern struct {
	re    *perlre.Regexp
	entry int32
}

// Set is maps by name.
type Set map[string]*Map

// Read reads a map's file. A line that can't be used is a Problem; the error is that of a file that can't be read.
func Read(name, file string, kind Kind) (*Map, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the map %s: %w", name, err)
	}
	defer func() { _ = f.Close() }() // opened for reading only
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the map %s: %w", name, err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("read the map %s: %s is larger than %d MiB", name, file, maxFile>>20)
	}
	return Parse(name, file, kind, string(text)), nil
}

// Name is what the configuration calls it, File where it was read.
func (m *Map) Name() string { return m.name }

// File is where it was read.
func (m *Map) File() string { return m.file }

// Kind is that of all its entries, or Any.
func (m *Map) Kind() Kind { return m.kind }

// Entries are its lines, in their order.
func (m *Map) Entries() []Entry { return slices.Clone(m.entries) }

// Problems are the lines that were left out.
func (m *Map) Problems() []Problem { return slices.Clone(m.problems) }

// Expires says whether an entry holds for some time only.
func (m *Map) Expires() bool { return m.expires }

// MarshalText stands for all that the map holds: it is the same as long as the map is.
func (m *Map) MarshalText() ([]byte, error) { return []byte(m.sum), nil }

// Sum is a short hash of all that the map holds.
func (m *Map) Sum() string { return m.sum }

func sumOf(kind Kind, text string) string {
	sum := sha256.Sum256([]byte(string(kind) + "\n" + text))
	return hex.EncodeToString(sum[:8])
}

// Where names an entry for people: the map, and the line.
func (m *Map) Where(e Entry) string { return fmt.Sprintf("%s (%s line %d)", e.Text, m.name, e.Line) }

// Network says whether an entry is a network.
func (e Entry) Network() bool { return e.Kind == CIDR }
