package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"

	"postern/internal/config"
	"postern/internal/mail"
)

// learnCorrespondentsCommand teaches the running gateway which addresses its users wrote to before it was installed.
type learnCorrespondentsCommand struct {
	where
	output
	Files []string `arg:"" name:"file" help:"Earlier logs: a Postfix mail log, or lines with a sender followed by recipients, such as the CSV of a message tracking log."`
}

// Run reads the files and hands on each pair once.
func (c *learnCorrespondentsCommand) Run(w world) error {
	cfg, err := c.read()
	if err != nil {
		return err
	}

	pairs := newPairs(cfg)
	reading := newProgress(w, "read")
	for _, name := range c.Files {
		if err := pairs.read(name, reading); err != nil {
			return err
		}
	}

	reading.done()

	taken := 0
	bar := newProgress(w, "learn correspondents")
	handed := 0
	for some := range slices.Chunk(pairs.order, pairsAtOnce) {
		var done struct {
			Learned int `json:"learned"`
		}
		if err := act(w, c.where, http.MethodPost, "/correspondents", map[string]any{"pairs": some}, &done); err != nil {
			return plainly(err)
		}
		taken, handed = taken+done.Learned, handed+len(some)
		bar.show(float64(handed)/float64(len(pairs.order)), handed)
	}
	bar.done()

	text := fmt.Sprintf("%d correspondents learned of %d lines; %d lines name no mail of ours to others\n", taken, pairs.lines, pairs.lines-pairs.used)
	if err := c.tell(w, map[string]int{"learned": taken, "lines": pairs.lines, "of_others": pairs.lines - pairs.used}, text); err != nil {
		return err
	}
	if taken == 0 {
		return errNo
	}

	return nil
}

// Bounds of what is kept of logs.
const (
	maxPairs    = 2_000_000
	maxQueueIDs = 200_000
	maxLogLine  = 1 << 20
	pairsAtOnce = 20_000 // in one act of the log
)

// pairs are users of ours and the addresses they wrote to, each once, in the order of the log.
type pairs struct {
	cfg         *config.Config
	seen        map[string]bool
	order       []string
	senders     map[string]string // by Postfix's queue id
	lines, used int
}

func newPairs(cfg *config.Config) *pairs {
	return &pairs{cfg: cfg, seen: map[string]bool{}, senders: map[string]string{}}
}

func (p *pairs) read(name string, bar *progress) error {
	f, err := os.Open(name)
	if err != nil {
		return usageError{err}
	}
	defer f.Close()

	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxLogLine)
	for lines.Scan() {
		p.lines++
		p.line(lines.Text())
		bar.show(endless, p.lines)
	}
	if err := lines.Err(); err != nil {
		return usageError{fmt.Errorf("%s, line %d: %w", name, p.lines+1, err)}
	}

	return nil
}

// line takes a line of a log. Postfix says from and to in lines of their own, with one queue id.
func (p *pairs) line(text string) {
	if _, rest, ok := strings.Cut(text, ": from=<"); ok {
		if id := queueID(text); id != "" && len(p.senders) < maxQueueIDs {
			p.senders[id], _, _ = strings.Cut(rest, ">")
		}
		return
	}
	if _, rest, ok := strings.Cut(text, ": to=<"); ok && strings.Contains(text, "status=sent") {
		to, _, _ := strings.Cut(rest, ">")
		p.add(p.senders[queueID(text)], to)
		return
	}

	all := mail.AddressesIn(text)
	for _, to := range all[min(1, len(all)):] {
		p.add(all[0].String(), to.String())
	}
}

// queueID is the word before ": from=" or ": to=".
func queueID(text string) string {
	before, _, _ := strings.Cut(text, ": from=<")
	before, _, _ = strings.Cut(before, ": to=<")

	return before[strings.LastIndexByte(before, ' ')+1:]
}

func (p *pairs) add(from, to string) {
	a, err := mail.ParseAddress(from)
	b, err2 := mail.ParseAddress(to)
	if err != nil || err2 != nil || !p.cfg.Local(a.ASCIIDomain()) || p.cfg.Local(b.ASCIIDomain()) || b.Domain == "" {
		return
	}

	p.used++
	pair := a.Key() + " " + b.Key()
	if !p.seen[pair] && len(p.order) < maxPairs {
		p.seen[pair] = true
		p.order = append(p.order, pair)
	}
}
