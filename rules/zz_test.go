package rules

import (
	"fmt"
	"os"
	"runtime/pprof"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/mimeview"
)

func TestZZ(t *testing.T) {
	start := time.Now()
	set, problems := ParseWith(Options{}, stockFiles(t)...)
	fmt.Println("load", time.Since(start))
	kinds := map[ProblemKind]int{}
	for _, p := range problems {
		kinds[p.Kind]++
		if os.Getenv("P") != "" {
			fmt.Println(p.Kind, p)
		}
	}
	fmt.Println(kinds)
	if n := os.Getenv("R"); n != "" {
		r := set.byName[n]
		fmt.Printf("%+v\n", *r)
	}
}

func TestZY(t *testing.T) {
	set, _ := ParseWith(Options{All: true}, stockFiles(t)...)
	for _, f := range []string{"/tmp/corp/spamassassin/spam/spam-2__00068.2999b3d00828ac3fbd6a7cd27a6c6321.txt", "/tmp/corp/spamassassin/spam/spam-2__00916.018fdcfbee3a549dc675f169a1243e16.txt"} {
		raw, _ := os.ReadFile(f)
		view := mimeview.New(mail.NewMessage([]byte(crlf(string(raw)))), mimeview.Options{})
		m := set.matcher(Input{View: view})
		for _, r := range set.rules {
			if r.live {
				start := time.Now()
				m.run(r)
				if d := time.Since(start); d > 3*time.Millisecond {
					fmt.Println(r.name, d, m.budget.Used())
				}
			}
		}
		fmt.Println(f, m.exhausted)
	}
}

func TestZX(t *testing.T) {
	set, _ := ParseWith(Options{All: os.Getenv("ALL") != ""}, stockFiles(t)...)
	b, _ := os.ReadFile("/tmp/lang/list7")
	var views []*mimeview.View
	for _, f := range strings.Fields(string(b)) {
		raw, _ := os.ReadFile(f)
		v := mimeview.New(mail.NewMessage([]byte(crlf(string(raw)))), mimeview.Options{})
		views = append(views, v)
	}
	for pass := range 3 {
		if pass == 1 && os.Getenv("PROF") != "" {
			f, _ := os.Create(os.Getenv("PROF"))
			pprof.StartCPUProfile(f)
			defer pprof.StopCPUProfile()
		}
		var before, after syscall.Rusage
		syscall.Getrusage(0, &before)
		ex := 0
		for _, v := range views {
			r := set.Run(Input{View: v})
			ex += len(r.Exhausted)
		}
		syscall.Getrusage(0, &after)
		cpu := float64(after.Utime.Nano()+after.Stime.Nano()-before.Utime.Nano()-before.Stime.Nano()) / 1e6
		fmt.Printf("pass %d: %.2f ms CPU per message, %d exhausted\n", pass, cpu/float64(len(views)), ex)
	}
	nb, groups := 0, 0
	for k, g := range set.groups {
		if g.scan != nil {
			st := g.scan.Stats()
			nb += st.Bytes
			groups++
			if len(g.rules) > 20 || st.Bytes > 1<<20 {
				fmt.Println(k, len(g.rules), st)
			}
		}
	}
	fmt.Println("tables", nb>>20, "MiB", groups)
}
