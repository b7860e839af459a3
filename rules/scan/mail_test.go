package scan_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/internal/testing/perlcases"
	"postern/rules/perlre"
	"postern/rules/scan"
)

// texts are what rules of a kind look at in a message; headers by their name.
type texts map[string][]string

// readMail makes quick views of the messages below a folder, about those that rules have.
func readMail(tb testing.TB, dir string, most int) []texts {
	tb.Helper()
	var all []texts
	var files []string
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, name)
		}
		return nil
	})
	sort.Strings(files)
	every := max(1, len(files)/most)
	for i := 0; i < len(files); i += every {
		data, err := os.ReadFile(files[i])
		if err != nil || len(data) > 400<<10 {
			continue
		}
		if !bytes.Contains(data, []byte("\r\n")) {
			data = bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))
		}
		all = append(all, quickViews(data))
	}
	return all
}

func quickViews(data []byte) texts {
	m := mail.NewMessage(data)
	v := mimeview.New(m, mimeview.Options{})
	defer v.Close()
	t := texts{}
	var whole strings.Builder
	for _, f := range m.Header().Fields {
		value := mimeview.DecodeValue(f.Value()) + "\n"
		t["head "+strings.ToLower(f.Name)] = []string{strings.Join(t["head "+strings.ToLower(f.Name)], "") + value}
		whole.WriteString(f.Name + ": " + value)
		if strings.EqualFold(f.Name, "Received") {
			relay := "[ ip=192.0.2.1 rdns=mail.example.org helo=" + strings.ReplaceAll(value, "\n", "")[:min(60, len(value)-1)] + " by=mx.example.net ident= envfrom= intl=0 id=x auth= msa=0 ] "
			t["head x-spam-relays-external"] = []string{strings.Join(t["head x-spam-relays-external"], "") + relay}
		}
	}
	t["head all"] = []string{whole.String()}
	t["head messageid"] = t["head message-id"]
	t["body "] = []string{v.Subject() + "\n"}
	for _, p := range v.Parts() {
		text := p.Text[:min(len(p.Text), 128<<10)]
		for par := range strings.SplitSeq(text, "\n\n") {
			for par = strings.Join(strings.Fields(par), " "); len(par) > 0; {
				n := min(len(par), 2048)
				t["body "] = append(t["body "], par[:n]+"\n")
				par = par[n:]
			}
		}
		for raw := string(p.Body[:min(len(p.Body), 256<<10)]); p.Text != "" && len(raw) > 0; {
			n := min(len(raw), 2048)
			t["rawbody "] = append(t["rawbody "], raw[:n])
			raw = raw[n:]
		}
	}
	t["uri "] = v.URLs()
	t["full "] = []string{string(data[:min(len(data), 256<<10)])}
	return t
}

// ruleSet is the rules of one kind, or of one header.
type ruleSet struct {
	view     string
	names    []string
	compiled []*perlre.Regexp
	set      *scan.Set
	found    *scan.Found
	spent    []time.Duration
	tried    []int
	hit      []int
}

func ruleSets(tb testing.TB, o scan.Options) []*ruleSet {
	byView := map[string]*ruleSet{}
	var all []*ruleSet
	for _, p := range perlcases.Stock(tb) {
		name, _, _ := strings.Cut(strings.ToLower(p.Header), ":")
		view := p.Kind + " " + name
		r := byView[view]
		if r == nil {
			r = &ruleSet{view: view}
			byView[view] = r
			all = append(all, r)
		}
		re, err := perlre.Compile(p.Expr, p.Flags())
		if err != nil {
			tb.Fatal(err)
		}
		r.names = append(r.names, p.Name)
		r.compiled = append(r.compiled, re)
	}
	for _, r := range all {
		r.set = scan.NewWith(r.compiled, o)
		r.found = r.set.NewFound()
		r.spent = make([]time.Duration, len(r.names))
		r.tried = make([]int, len(r.names))
		r.hit = make([]int, len(r.names))
	}
	return all
}

// match gives how many rules hit.
func (r *ruleSet) match(t texts, b *perlre.Budget, confirm, timed bool) (hits int) {
	done := map[int]bool{}
	for _, text := range t[r.view] {
		r.found.Clear()
		r.set.Candidates(text, r.found)
		if !confirm {
			continue
		}
		r.found.Each(func(i int) {
			if done[i] {
				return
			}
			if r.found.Sure(i) {
				done[i] = true
				return
			}
			b.Reset(1 << 20)
			var start time.Time
			if timed {
				start = time.Now()
			}
			_, ok := r.compiled[i].Find(text, 0, b)
			if timed {
				r.spent[i] += time.Since(start)
			}
			r.tried[i]++
			if ok {
				done[i] = true
				r.hit[i]++
			}
		})
	}
	return len(done)
}

// TestMailSpeed measures over the mail in the folder that POSTERN_MAIL names.
func TestMailSpeed(t *testing.T) {
	dir := os.Getenv("POSTERN_MAIL")
	if dir == "" {
		t.Skip("POSTERN_MAIL names no folder")
	}
	mails := readMail(t, dir, 700)
	number := func(name string) int {
		n, _ := strconv.Atoi(os.Getenv(name))
		return n
	}
	sets := ruleSets(t, scan.Options{Group: number("GROUP"), Worth: number("WORTH"), Table: number("TABLE")})
	b := perlre.NewBudget(0)
	run := func(confirm, timed bool) (time.Duration, int) {
		start, hits := cpu(t), 0
		for _, m := range mails {
			for _, r := range sets {
				hits += r.match(m, b, confirm, timed)
			}
		}
		return (cpu(t) - start) / time.Duration(len(mails)), hits
	}
	cold, hits := run(true, false)
	warm, _ := run(true, false)
	only, _ := run(false, false)
	t.Logf("%d messages, %d hits: %v a message cold, %v warm, %v of it the scan", len(mails), hits, cold, warm, only)
	run(true, true)
	report(t, sets)
}

// cpu is the processor time of the process.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func report(t *testing.T, sets []*ruleSet) {
	type line struct {
		name       string
		spent      time.Duration
		tried, hit int
	}
	var lines []line
	bytes, flushes, gaveUp := 0, int64(0), int64(0)
	for _, r := range sets {
		st := r.set.Stats()
		bytes, flushes, gaveUp = bytes+st.Bytes, flushes+st.Flushes, gaveUp+st.GaveUp
		if st.Patterns > 15 {
			t.Logf("%s: %+v", r.view, st)
		}
		for i, name := range r.names {
			lines = append(lines, line{name, r.spent[i], r.tried[i], r.hit[i]})
		}
	}
	sort.Slice(lines, func(i, j int) bool { return lines[i].spent > lines[j].spent })
	for _, l := range lines[:25] {
		t.Logf("%-28s %10v, tried %d, hit %d", l.name, l.spent, l.tried, l.hit)
	}
	t.Logf("tables %d KiB, %d flushes, %d passes given up", bytes>>10, flushes, gaveUp)
}
