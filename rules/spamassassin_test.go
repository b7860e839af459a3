package rules

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/mimeview"
)

// Where SpamAssassin's rules are on Debian.
const (
	stockRules = "/usr/share/spamassassin"
	stockSite  = "/etc/spamassassin"
)

// stockFiles reads an installation.
func stockFiles(t testing.TB) []File {
	t.Helper()
	files, err := ReadFolders(envOr("RULES_DIR", stockRules), stockSite)
	if err != nil {
		absent(t, err)
	}
	return files
}

// absent skips a comparison with SpamAssassin where it is not installed. Where all tests must run it fails.
func absent(t testing.TB, why error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal("SpamAssassin is not installed (make tools does it): ", why)
	}
	t.Skip("SpamAssassin is not installed: ", why)
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// reference is a line of testdata/spamassassin.pl.
type reference struct {
	Rules map[string][]any
	File  string
	Hits  map[string]float64
	Score float64
	CPU   float64
}

// corpus draws messages by a seed from the folders in RULES_CORPUS, the same number from each; without any, it is the mail of
// this house's tests.
func corpus(t testing.TB, n int, seed uint64) []string {
	t.Helper()
	folders := strings.Fields(os.Getenv("RULES_CORPUS"))
	if len(folders) == 0 {
		return testMail(t)
	}
	var all []string
	for _, dir := range folders {
		var files []string
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				files = append(files, path)
			}
			return nil
		})
		sort.Strings(files)
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
		all = append(all, files[:min(len(files), n/len(folders))]...)
	}
	return all
}

// testMail gives the messages that lie beside the tests of all packages.
func testMail(t testing.TB) (files []string) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, ".eml") && strings.Contains(path, "testdata") {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) < 20 {
		t.Fatal(len(files), " messages: ", err)
	}
	return files
}

// references runs SpamAssassin over messages, or reads what it said before from RULES_REFERENCE.
func references(t testing.TB, files []string, each func(reference)) {
	t.Helper()
	var scanner *bufio.Scanner
	if recorded := os.Getenv("RULES_REFERENCE"); recorded != "" {
		f, err := os.Open(recorded)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		scanner = bufio.NewScanner(f)
	} else {
		cmd := exec.Command("perl", "testdata/spamassassin.pl", "--rules", envOr("RULES_DIR", stockRules))
		cmd.Stdin = strings.NewReader(strings.Join(files, "\n") + "\n")
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			absent(t, err)
		}
		defer func() { _ = cmd.Wait() }()
		scanner = bufio.NewScanner(out)
	}
	scanner.Buffer(nil, 64<<20)
	for scanner.Scan() {
		var r reference
		if err := json.Unmarshal(scanner.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		each(r)
	}
}

// tally counts hits of one kind of rule.
type tally struct{ both, theirs, ours int }

func (c tally) String() string {
	return fmt.Sprintf("both %6d  only theirs %5d  only ours %5d  equal %.3f %%", c.both, c.theirs, c.ours, 100*float64(c.both)/float64(max(1, c.both+c.theirs+c.ours)))
}

// comparison sums up what two programs say of messages.
type comparison struct {
	set                                   *Set
	known                                 map[string]bool
	kinds                                 map[string]*tally
	rules                                 map[string]*tally
	where                                 map[string]string
	messages, identical, verdict, differs int
	counts                                int
	theirCPU                              float64
	ourTime                               time.Duration
}

func (c *comparison) kindOf(name string) string {
	if r := c.set.byName[name]; r != nil {
		return r.kind.String()
	}
	return "unknown here"
}

func (c *comparison) add(r reference) {
	raw, err := os.ReadFile(r.File)
	if err != nil {
		return
	}
	view := mimeview.New(mail.NewMessage([]byte(crlf(string(raw)))), mimeview.Options{})
	defer view.Close()
	start := time.Now()
	ours := c.set.Values(Input{View: view})
	c.ourTime += time.Since(start)
	c.theirCPU += r.CPU
	c.messages++
	same, score := true, 0.0
	names := map[string]bool{}
	for n := range r.Hits {
		names[n] = true
	}
	for n, v := range ours {
		names[n] = true
		if x := c.set.byName[n]; !x.hidden() {
			score += x.score
		}
		if t, ok := r.Hits[n]; ok && t != v {
			c.counts++
			c.note(n+" (count)", r.File)
		}
	}
	for n := range names {
		_, us := ours[n]
		_, them := r.Hits[n]
		kind := c.kindOf(n)
		if c.kinds[kind] == nil {
			c.kinds[kind] = &tally{}
		}
		if c.rules[n] == nil {
			c.rules[n] = &tally{}
		}
		for _, t := range []*tally{c.kinds[kind], c.rules[n]} {
			switch {
			case us && them:
				t.both++
			case us:
				t.ours++
			default:
				t.theirs++
			}
		}
		if us != them {
			same = false
			c.note(n, r.File)
		}
	}
	if same {
		c.identical++
	}
	if (score >= 5) == (r.Score >= 5) {
		c.verdict++
	}
}

func (c *comparison) note(rule, file string) {
	if len(strings.Fields(c.where[rule])) < 4 {
		c.where[rule] += " " + file
	}
}

func crlf(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
}

// The rules that SpamAssassin ships are beside it on real messages: RULES_CORPUS names folders of them.
func TestBesideSpamAssassin(t *testing.T) {
	n, _ := strconv.Atoi(envOr("RULES_MESSAGES", "500"))
	seed, _ := strconv.ParseUint(envOr("RULES_SEED", "1"), 10, 64)
	files := corpus(t, n, seed)
	set, _ := ParseWith(Options{All: true}, stockFiles(t)...)
	c := &comparison{set: set, kinds: map[string]*tally{}, rules: map[string]*tally{}, where: map[string]string{}}
	references(t, files, func(r reference) {
		if r.Rules != nil {
			c.compareSets(t, r.Rules)
			return
		}
		c.add(r)
	})
	all := tally{}
	for _, kind := range sortedKeys(c.kinds) {
		k := c.kinds[kind]
		all.both, all.theirs, all.ours = all.both+k.both, all.theirs+k.theirs, all.ours+k.ours
		t.Logf("%-14s %s", kind, k)
	}
	t.Logf("%-14s %s", "all", all)
	share := func(n int) float64 { return 100 * float64(n) / float64(max(1, c.messages)) }
	t.Logf("%d messages: identical %.1f %%, same verdict %.2f %%, other counts %d", c.messages, share(c.identical), share(c.verdict), c.counts)
	t.Logf("a message takes them %.1f ms of CPU, us %.2f ms of time", 1000*c.theirCPU/float64(max(1, c.messages)), float64(c.ourTime.Microseconds())/1000/float64(max(1, c.messages)))
	if equal := float64(all.both) / float64(max(1, all.both+all.theirs+all.ours)); equal < .995 || share(c.identical) < 95 || share(c.verdict) < 99.9 {
		t.Error("want 99.5 % of the hits, 95 % of the messages and 99.9 % of the verdicts to be the same")
	}
	names := sortedKeys(c.rules)
	sort.SliceStable(names, func(i, j int) bool {
		a, b := c.rules[names[i]], c.rules[names[j]]
		return a.theirs+a.ours > b.theirs+b.ours
	})
	for _, n := range names[:min(60, len(names))] {
		if r := c.rules[n]; r.theirs+r.ours > 0 {
			t.Logf("  %-32s %s %s%s", n, c.kindOf(n), r, c.where[n])
		}
	}
	for _, n := range sortedKeys(c.where) {
		if strings.HasSuffix(n, "(count)") {
			t.Logf("  %s%s", n, c.where[n])
		}
	}
}

// compareSets says which rules one of the two has and the other has not, or with another score.
func (c *comparison) compareSets(t *testing.T, theirs map[string][]any) {
	missing, extra, scores := 0, 0, 0
	for _, n := range sortedKeys(theirs) {
		r := c.set.byName[n]
		if r == nil {
			if missing++; missing < 40 {
				t.Logf("not here: %s %v", n, theirs[n])
			}
			continue
		}
		var s float64
		fmt.Sscan(fmt.Sprint(theirs[n][1]), &s)
		if diff := s - r.score; r.kind != kindMeta && (diff > 1e-9 || diff < -1e-9) {
			if scores++; scores < 20 {
				t.Logf("score of %s: %v here, %v there", n, r.score, s)
			}
		}
	}
	for _, r := range c.set.rules {
		if theirs[r.name] == nil {
			if extra++; extra < 40 {
				t.Logf("only here: %s", r.name)
			}
		}
	}
	t.Logf("%d rules: %d missing, %d extra, %d other scores", len(c.set.rules), missing, extra, scores)
}

func sortedKeys[V any](m map[string]V) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	sort.Strings(all)
	return all
}
