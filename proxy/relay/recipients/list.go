package recipients

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"postern/internal/mail"
)

// list is a file of addresses. It is read again when it has changed.
type list struct {
	path string
	now  func() time.Time
	log  *slog.Logger

	mu       sync.Mutex
	looked   time.Time // when the file was last looked at
	modified time.Time
	size     int64
	known    map[string]bool
}

// lookEvery is how often the file is looked at, maxList how large it may be in octets.
const (
	lookEvery = 10 * time.Second
	maxList   = 64 << 20
)

func openList(path string, now func() time.Time, log *slog.Logger) (*list, error) {
	l := &list{path: path, now: now, log: log, looked: now()}
	info, err := os.Stat(path)
	if err == nil {
		l.modified, l.size = info.ModTime(), info.Size()
		l.known, err = readList(path)
	}
	if err != nil {
		return nil, fmt.Errorf("recipients.list: %w", err)
	}
	return l, nil
}

// has says whether an address is in the list: by itself, without its detail, or by its domain.
func (l *list) has(a mail.Address) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refresh()
	if l.known[a.Key()] || l.known["@"+a.ASCIIDomain()] {
		return true
	}
	plain, detailed := a.WithoutDetail()
	return detailed && l.known[plain.Key()]
}

// refresh reads the file again if it is another one. A file that can't be read leaves the old list in force.
func (l *list) refresh() {
	now := l.now()
	if now.Sub(l.looked) < lookEvery {
		return
	}
	l.looked = now
	info, err := os.Stat(l.path)
	if err == nil && info.ModTime().Equal(l.modified) && info.Size() == l.size {
		return
	}
	var known map[string]bool
	if err == nil {
		l.modified, l.size = info.ModTime(), info.Size() // a broken file is complained of once
		known, err = readList(l.path)
	}
	if err != nil {
		l.log.Error("the list of recipients can't be read again, the old one holds", "error", err)
		return
	}
	l.known = known
	l.log.Info("the list of recipients was read again", "entries", len(known))
}

func readList(path string) (map[string]bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	known := map[string]bool{}
	lines := bufio.NewScanner(io.LimitReader(f, maxList+1))
	read, n := 0, 0
	for lines.Scan() {
		n++
		if read += len(lines.Bytes()) + 1; read > maxList {
			return nil, fmt.Errorf("%s is larger than %d MiB", path, maxList>>20)
		}
		line, _, _ := strings.Cut(lines.Text(), "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if domain, ok := strings.CutPrefix(line, "@"); ok {
			if !mail.ValidDomain(domain) {
				return nil, fmt.Errorf("%s line %d: %q is no domain; write \"@example.com\"", path, n, line)
			}
			known["@"+mail.ASCIIDomain(domain)] = true
			continue
		}
		a, err := mail.ParseAddress(line)
		if err != nil || a.Domain == "" {
			return nil, fmt.Errorf("%s line %d: %q is no address; write \"ann@example.com\", or \"@example.com\" for a domain", path, n, line)
		}
		known[a.Key()] = true
	}
	return known, lines.Err()
}
