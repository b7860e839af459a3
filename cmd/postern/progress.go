package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// progress is a bar on a terminal, and nothing elsewhere.
type progress struct {
	w     world
	name  string
	on    bool
	begun time.Time
	shown time.Time
}

// endless is the share of work of unknown length: only the amount done is shown.
const endless = -1

func newProgress(w world, name string) *progress {
	return &progress{w: w, name: name, on: terminal(w.stderr), begun: time.Now()}
}

// aside keeps the bar for work whose results go elsewhere: results on the same terminal show how far it is.
func (p *progress) aside() *progress {
	p.on = p.on && !terminal(p.w.stdout)
	return p
}

func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// show draws the bar, ten times a second at most.
func (p *progress) show(share float64, n int) {
	if !p.on || time.Since(p.shown) < time.Second/10 {
		return
	}
	p.shown = time.Now()
	took := p.shown.Sub(p.begun).Round(time.Second)
	if share < 0 {
		fmt.Fprintf(p.w.stderr, "\r\x1b[K%s %d, %s", p.name, n, took)
		return
	}
	const width = 30
	full := int(min(share, 1) * width)
	fmt.Fprintf(p.w.stderr, "\r\x1b[K%s [%s%s] %3.0f %%  %d, %s", p.name, strings.Repeat("=", full), strings.Repeat(" ", width-full), share*100, n, took)
}

// done wipes it.
func (p *progress) done() {
	if p.on {
		fmt.Fprint(p.w.stderr, "\r\x1b[K")
		p.shown = time.Time{}
	}
}
