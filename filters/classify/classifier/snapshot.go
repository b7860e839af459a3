package classifier

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"postern/filters/classify/lessonlog"
	"postern/filters/classify/model"
)

// place says what a snapshot is a snapshot of. It is the first line of the file.
type place struct {
	Book  string          `json:"book"`
	Seq   int64           `json:"seq"`
	Key   string          `json:"key"` // a hash of it
	Rules lessonlog.Rules `json:"rules"`
	First int64           `json:"batch_first"`
	N     int             `json:"batch"`
	Wrong int             `json:"wrong"`
}

func (c *Classifier) keyName() string {
	sum := sha256.Sum256(append([]byte("postern classifier key "), c.o.Key[:]...))

	return hex.EncodeToString(sum[:8])
}

// Save writes the snapshot, if there is anything new.
func (c *Classifier) Save() error {
	c.work.Lock()
	defer c.work.Unlock()
	if c.o.Snapshot == "" || c.redo || c.plan.Seq() == c.saved {
		return nil
	}
	line, err := json.Marshal(place{Book: c.o.Book.Name(), Seq: c.plan.Seq(), Key: c.keyName(), Rules: c.o.Rules, First: c.guard.first, N: c.guard.n, Wrong: c.guard.wrong})
	if err != nil {
		return fmt.Errorf("classifier's snapshot: %w", err)
	}
	temporary := c.o.Snapshot + ".new"
	if err := c.write(temporary, append(line, '\n')); err != nil {
		return fmt.Errorf("classifier's snapshot: %w", err)
	}
	if err := os.Rename(temporary, c.o.Snapshot); err != nil {
		return fmt.Errorf("classifier's snapshot: %w", err)
	}
	c.saved = c.plan.Seq()

	return nil
}

func (c *Classifier) write(path string, line []byte) (err error) {
	file, err := os.OpenFile(filepath.Clean(path), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.Write(line); err != nil {
		return err
	}
	c.mu.RLock()
	_, err = c.model.WriteTo(file)
	c.mu.RUnlock()

	return err
}

// load takes the snapshot if it is one of this log and of these rules. Anything else is learned from the log.
func (c *Classifier) load(ctx context.Context) error {
	if c.o.Snapshot == "" {
		return nil
	}
	file, err := os.Open(c.o.Snapshot)
	if errors.Is(err, os.ErrNotExist) {
		c.redo = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("classifier's snapshot: %w", err)
	}
	defer file.Close()
	why := c.take(ctx, bufio.NewReaderSize(file, maxLine))
	if why != nil {
		c.o.Logger.Warn("the classifier's snapshot is of no use; it learns all from its log", "file", c.o.Snapshot, "why", why)
		c.redo = true
	}

	return nil
}

// take reads a snapshot. An error says why it is of no use.
func (c *Classifier) take(ctx context.Context, r *bufio.Reader) error {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return model.ErrCorrupt
	}
	var at place
	if err := json.Unmarshal(line, &at); err != nil {
		return model.ErrCorrupt
	}
	last, err := c.o.Book.Last(ctx)
	switch {
	case err != nil:
		return err
	case at.Book != c.o.Book.Name() || at.Seq > last:
		return errors.New("it was made of another log")
	case at.Key != c.keyName():
		return errors.New("it was made with another key")
	case at.Rules != c.o.Rules:
		return errors.New("other rules say now which lessons count")
	}
	m, err := model.Read(io.Reader(r))
	if err != nil {
		return err
	}
	plan, err := c.read(ctx, at.Seq)
	if err != nil {
		return err
	}
	g := guard{first: at.First, n: at.N, wrong: at.Wrong}
	if err := c.remember(ctx, &g, plan); err != nil {
		return err
	}
	c.model, c.plan, c.guard, c.saved = m, plan, g, at.Seq

	return nil
}

// maxLine bounds the first line of a snapshot, in octets.
const maxLine = 4096

// remember finds what a guard had learned, and its canaries.
func (c *Classifier) remember(ctx context.Context, g *guard, plan *lessonlog.Plan) error {
	var canaries []lessonlog.Decision
	for _, d := range plan.Decisions() {
		g.past[label(d.Spam)] = append(g.past[label(d.Spam)], d)
		if d.Trusted && !d.Spam {
			canaries = append(canaries, d)
		}
	}
	for _, d := range canaries[max(0, len(canaries)-maxCanaries):] {
		l, err := c.lessonAt(ctx, d)
		if err != nil {
			return err
		}
		g.canaries = append(g.canaries, &l.Features)
	}

	return nil
}
