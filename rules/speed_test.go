package rules

import (
	"os"
	"runtime"
	"sort"
	"strconv"
	"syscall"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/mimeview"
)

// threadTime is the processor time of the thread, which stays the same one while a test holds it.
func threadTime() time.Duration {
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if syscall.Getrusage(thread, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// quantile gives the value below which a share of sorted times is.
func quantile(sorted []time.Duration, share float64) time.Duration {
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

// tables sums up what the automata of a set hold.
func (s *Set) tables() (octets int, flushes, gaveUp int64) {
	for _, g := range s.groups {
		if g.scan == nil {
			continue
		}
		st := g.scan.Stats()
		octets, flushes, gaveUp = octets+st.Bytes, flushes+st.Flushes, gaveUp+st.GaveUp
	}
	return octets, flushes, gaveUp
}

// TestStockSpeed measures the processor time that the installed rules take over real messages, reading them included:
// RULES_CORPUS names folders of them. RULES_PASSES is how often, the first time cold.
func TestStockSpeed(t *testing.T) {
	n, _ := strconv.Atoi(envOr("RULES_MESSAGES", "500"))
	seed, _ := strconv.ParseUint(envOr("RULES_SEED", "1"), 10, 64)
	passes, _ := strconv.Atoi(envOr("RULES_PASSES", "3"))
	var texts [][]byte
	for _, file := range corpus(t, n, seed) {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, []byte(crlf(string(raw))))
	}
	set, _ := ParseWith(Options{}, stockFiles(t)...)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for pass := range passes {
		times := make([]time.Duration, 0, len(texts))
		total, exhausted := time.Duration(0), map[string]int{}
		for _, text := range texts {
			start := threadTime()
			view := mimeview.New(mail.NewMessage(text), mimeview.Options{})
			result := set.Run(Input{View: view})
			took := threadTime() - start
			view.Close()
			times, total = append(times, took), total+took
			for _, name := range result.Exhausted {
				exhausted[name]++
			}
		}
		sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
		octets, flushes, gaveUp := set.tables()
		t.Logf("pass %d: mean %v, p50 %v, p95 %v, p99 %v, most %v; tables %d KiB, %d flushes, %d passes given up; out of steps: %v", pass+1,
			total/time.Duration(len(texts)), quantile(times, .5), quantile(times, .95), quantile(times, .99), times[len(times)-1], octets>>10, flushes, gaveUp, exhausted)
	}
	slowest(t, set, texts)
}

// slowest lists the rules that take most of the time.
func slowest(t *testing.T, set *Set, texts [][]byte) {
	type spent struct {
		name  string
		took  time.Duration
		most  time.Duration
		steps int
	}
	all := make([]spent, len(set.rules))
	for _, text := range texts {
		view := mimeview.New(mail.NewMessage(text), mimeview.Options{})
		m := set.matcher(Input{View: view})
		for _, r := range set.rules {
			if !r.live || r.kind == kindMeta {
				continue
			}
			if r.kind <= kindFull {
				m.textsOf(r) // the pass is nobody's own
			}
			before, start := m.left, time.Now()
			m.run(r)
			took := time.Since(start)
			s := &all[r.id]
			s.name, s.took, s.most, s.steps = r.name, s.took+took, max(s.most, took), s.steps+before-m.left
		}
		view.Close()
	}
	sort.Slice(all, func(i, j int) bool { return all[i].took > all[j].took })
	for _, s := range all[:25] {
		t.Logf("  %-32s %8v a message, %8v at most, %6d steps a message", s.name, s.took/time.Duration(len(texts)), s.most, s.steps/len(texts))
	}
}
