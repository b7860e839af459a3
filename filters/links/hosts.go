package links

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"

	"postern/internal/mimeview"
)

//go:embed tables/*.txt
var tables embed.FS

// platform is a kind of host where strangers keep pages, or which leads on to them.
type platform string

// The kinds, each with a table of its name.
const (
	freeHost   platform = "free_host"
	formHost   platform = "form"
	storage    platform = "storage"
	tunnel     platform = "tunnel"
	shortener  platform = "shortener"
	redirector platform = "redirector"
	tracker    platform = "tracker"
)

func platforms() []platform {
	return []platform{freeHost, formHost, storage, tunnel, shortener, redirector, tracker}
}

// entry is a line of a table: "host", "=host" for that name alone, "host/path", with "*" in a label for any letters.
type entry struct {
	platform platform
	labels   []string // with "*", nil for a plain name
	path     string
	alone    bool
	line     string
}

// hosts knows the platforms by their names.
type hosts struct {
	plain    map[string][]entry // by the name
	patterns map[string][]entry // by the longest label without "*"
	anywhere []entry            // paths at any host
}

// newHosts reads the shipped tables and an admin's lines, each "KIND HOST" or "-KIND HOST" to take one out.
func newHosts(lines []string) (*hosts, error) {
	removed, err := removals(lines)
	if err != nil {
		return nil, err
	}
	h := &hosts{plain: map[string][]entry{}, patterns: map[string][]entry{}}
	for _, p := range platforms() {
		text, err := tables.ReadFile(path.Join("tables", string(p)+".txt"))
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			if line == "" || line[0] == '#' || removed[string(p)+" "+line] {
				continue
			}
			if err := h.add(p, line); err != nil {
				return nil, fmt.Errorf("%s.txt: %w", p, err)
			}
		}
	}
	for _, line := range lines {
		kind, name, _ := strings.Cut(line, " ")
		if strings.HasPrefix(kind, "-") {
			continue
		}
		if err := h.add(platform(kind), strings.TrimSpace(name)); err != nil {
			return nil, err
		}
	}

	return h, nil
}

// removals are the lines that begin with "-", and checks the kinds of all.
func removals(lines []string) (map[string]bool, error) {
	removed := map[string]bool{}
	for _, line := range lines {
		kind, name, ok := strings.Cut(line, " ")
		plain, away := strings.CutPrefix(kind, "-")
		if !ok || !slices.Contains(platforms(), platform(plain)) {
			return nil, fmt.Errorf("%q: write it as \"KIND HOST\" or \"-KIND HOST\", where KIND is one of %v", line, platforms())
		}
		if away {
			removed[plain+" "+strings.TrimSpace(name)] = true
		}
	}

	return removed, nil
}

func (h *hosts) add(p platform, line string) error {
	e := entry{platform: p, line: line}
	host, rest, hasPath := strings.Cut(line, "/")
	if hasPath {
		e.path = "/" + rest
	}
	host, e.alone = strings.CutPrefix(host, "=")
	host = strings.ToLower(host)
	if host == "*" && len(e.path) > 1 {
		h.anywhere = append(h.anywhere, e)
		return nil
	}
	if strings.Contains(host, "..") || strings.Trim(host, ".") != host || !strings.Contains(host, ".") {
		return fmt.Errorf("%q: %q is no name of a host", line, host)
	}
	if !strings.Contains(host, "*") {
		h.plain[host] = append(h.plain[host], e)
		return nil
	}

	e.labels = strings.Split(host, ".")
	longest := ""
	for _, l := range e.labels {
		if !strings.Contains(l, "*") && len(l) > len(longest) {
			longest = l
		}
	}
	if longest == "" {
		return fmt.Errorf("%q: \"*\" stands in each part of it", line)
	}
	h.patterns[longest] = append(h.patterns[longest], e)

	return nil
}

// maxLabels is how many labels of a host are looked at.
const maxLabels = 10

// find gives the platforms that a link leads to.
func (h *hosts) find(link *mimeview.Link) (found []platform) {
	take := func(e entry) {
		if strings.HasPrefix(link.Path, e.path) && !slices.Contains(found, e.platform) {
			found = append(found, e.platform)
		}
	}
	name := link.Host
	for n := 0; name != "" && n < maxLabels; n++ {
		for _, e := range h.plain[name] {
			if !e.alone || n == 0 || name == strings.TrimPrefix(link.Host, "www.") {
				take(e)
			}
		}
		label, rest, _ := strings.Cut(name, ".")
		for _, e := range h.patterns[label] {
			if e.fits(link.Host) {
				take(e)
			}
		}
		name = rest
	}
	for _, e := range h.anywhere {
		take(e)
	}

	return found
}

// fits compares the labels of a pattern with the last ones of a host.
func (e entry) fits(host string) bool {
	labels := strings.Split(host, ".")
	more := len(labels) - len(e.labels)
	if more < 0 || e.alone && more > 0 {
		return false
	}
	for i, l := range e.labels {
		before, after, any := strings.Cut(l, "*")
		have := labels[more+i]
		switch {
		case !any && have != l:
			return false
		case any && (len(have) < len(before)+len(after) || !strings.HasPrefix(have, before) || !strings.HasSuffix(have, after)):
			return false
		}
	}

	return true
}
