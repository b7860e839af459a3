package perlre_test

import (
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/testing/perlcases"
	"postern/rules/perlre"
)

// hungry are expressions that take time that grows with a power of the text, or worse, in a matcher that tries all ways.
func hungry() []string {
	return []string{
		`(a+)+$`, `(a*)*b`, `(?:a|aa)+$`, `(?:a|a?)+b`, `(\w+\s?)+:`, `^(\w+\s?)*$`, `(.*)(.*)(.*)(.*)x`, `(?:.*,){20}P`,
		`\s+$`, `.*.*.*=`, `(?:\d+)+[^\d]x`, `(?:[a-z]+)*\d`, `(a|b|ab)*c`, `(?:x+x+)+y`, `^(?:a?){40}a{40}$`, `(\w+)\s+\1\s+\1b`,
		`(?:(?!end).)*end`, `(?=(.*a)*b)x`, `(?<=a{1,200}b)c`, `(.+)\1\1z`, `((a+)b?)+\2c`, `(?>a+b?)+c`, `(?:a{1,90}){1,90}b`,
		`[^>]*<[^>]*>[^<]*</`, `(?:\S{1,40}\s){5,10}unsubscribe`, `"(?:[^"\\]|\\.)*"x`, `(?:(?:a+)?)+b`, `(?:(a)|(b)|(c))*\1d`,
	}
}

func pumps() []string {
	texts := []string{strings.Repeat("a", 40), strings.Repeat("a", 1<<20), strings.Repeat("ab", 30000) + "!"}
	if raced {
		return texts
	}
	for _, unit := range []string{" ", "x", "1,", "word word ", "<b>", "\\\"", "\n", "ac", "aab "} {
		texts = append(texts, strings.Repeat(unit, 20000)+"!", strings.Repeat(unit, (1<<20)/len(unit)))
	}
	return texts
}

// cpu is the processor time of the thread, which stays the same one while a test holds it.
func cpu() time.Duration {
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if syscall.Getrusage(thread, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestBudgetHolds: no expression takes longer than its budget, whatever the text.
func TestBudgetHolds(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b := perlre.NewBudget(0)
	var worst time.Duration
	var slow string
	exhausted, tried := 0, 0
	for i, expr := range hungry() {
		if raced && i%4 != 0 {
			continue
		}
		re, err := perlre.Compile(expr, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range pumps() {
			b.Reset(perlre.RuleSteps)
			start := cpu()
			_, ok := re.Find(text, 0, b)
			took := cpu() - start
			tried++
			if b.Exhausted() {
				exhausted++
				if ok {
					t.Errorf("/%s/ is found without a step left", expr)
				}
			}
			if b.Used() > perlre.RuleSteps+1<<16 {
				t.Errorf("/%s/ on %.20q: %d steps", expr, text, b.Used())
			}
			if took > worst {
				worst, slow = took, expr
			}
		}
	}
	t.Logf("%d times, %d of them out of steps; the slowest took %v: /%s/", tried, exhausted, worst, slow)
	if worst > 100*time.Millisecond && !raced { // of a machine that has other work to do, under the race detector
		t.Errorf("/%s/ took %v", slow, worst)
	}
}

// TestRegularExpressionsNeedNoLuck: what is regular gets its answer from short pumped texts too.
func TestRegularExpressionsNeedNoLuck(t *testing.T) {
	for _, expr := range []string{`(a+)+$`, `(a*)*b`, `(?:a|aa)+$`, `(?:a|a?)+b`, `(?:x+x+)+y`, `^(?:a?){40}a{40}$`, `(?:[a-z]+)*\d`} {
		re, err := perlre.Compile(expr, 0)
		if err != nil {
			t.Fatal(err)
		}
		b := perlre.NewBudget(perlre.RuleSteps)
		re.Find(strings.Repeat("a", 60)+"!", 0, b)
		re.Find(strings.Repeat("x", 60), 0, b)
		if b.Exhausted() {
			t.Errorf("/%s/ runs out of steps", expr)
		}
	}
}

// TestInstalledRulesHold pumps what the installed rules match.
func TestInstalledRulesHold(t *testing.T) {
	if raced {
		t.Skip("the race detector counts here, not the text")
	}
	patterns, step := perlcases.Stock(t), 24
	if os.Getenv("POSTERN_STOCK_RULES") == "all" {
		step = 1
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b := perlre.NewBudget(0)
	var worst time.Duration
	var slow string
	exhausted, tried := 0, 0
	for i := 0; i < len(patterns); i += step {
		re, err := compilePattern(patterns[i])
		if err != nil {
			t.Fatal(err)
		}
		for j, c := range perlcases.Make(re.Tree(), 5, uint64(i)) {
			if j == 1 || j == 2 || c.Text == "" {
				continue
			}
			text := c.Text[:len(c.Text)-1]
			text = strings.Repeat(text, min(1<<20, 1<<(8+3*j))/(len(text)+1)+1)
			b.Reset(perlre.RuleSteps)
			start := cpu()
			re.Find(text, 0, b)
			took := cpu() - start
			tried++
			if b.Exhausted() {
				exhausted++
			}
			if took > worst {
				worst, slow = took, patterns[i].Name
			}
		}
	}
	t.Logf("%d times, %d of them out of steps; the slowest took %v: %s", tried, exhausted, worst, slow)
	if worst > 100*time.Millisecond && !raced {
		t.Errorf("%s took %v", slow, worst)
	}
}
