package mimeview

import (
	"bytes"
	"slices"
	"sort"
	"strings"

	"postern/internal/mail/ascii"
)

// delimiter is a line that begins with "--": RFC 2046 section 5.1.1 makes some of them delimiters.
type delimiter struct {
	at     int64 // of the "--"
	before int64 // where the line end before it begins: what stands there belongs to the delimiter
	next   int64 // behind its line end
	length int32 // of what follows the "--"
	cr     bool  // the line begins or ends at a lone CR
	lf     bool  // the line begins behind a lone LF
	header bool  // a structural field follows
	inside bool  // it stands in the middle of a line
}

const (
	maxDelimiters = 1 << 16
	maxDelimiter  = maxBoundary + 100
)

// index finds all delimiters of a source in one pass.
func (w *walker) index(s *source) []delimiter {
	if s.indexed {
		return s.delimiters
	}
	s.indexed = true
	w.spend(s.size)
	if bytes.HasPrefix(s.slice(0, 2), []byte("--")) {
		w.indexOne(s, 0, s.slice(0, maxDelimiter), 0, 0)
	}
	for off := int64(0); off < s.size && !w.stopped(); {
		window := s.slice(off, windowSize)
		if len(window) == 0 {
			break
		}
		last := off+int64(len(window)) >= s.size
		done := w.indexWindow(s, off, window, last)
		if last && done == len(window) {
			break
		}
		off += int64(max(done, 1))
	}
	return s.delimiters
}

// undecided is how much of a window without another "--" is done with: a delimiter may begin at its end.
func undecided(window []byte, at int, last bool) int {
	if last {
		return len(window)
	}
	return max(len(window)-4, at)
}

// indexWindow looks through octets at off and gives how many of them are done with.
func (w *walker) indexWindow(s *source, off int64, window []byte, last bool) int {
	at := 0
	for {
		i := bytes.Index(window[at:], []byte("--"))
		if i < 0 {
			return undecided(window, at, last)
		}

		i += at
		if i == 0 || !ascii.IsEOL(window[i-1]) {
			if off+int64(i) > 0 && w.midLine(s, off, window, i) { // the source's first line begins there: index has it
				w.spend(1)
			}
			at = dashesEnd(window, i)
			continue
		}

		if len(window)-i < maxDelimiter+200 && !last && i > 8 {
			return i - 4 // with the next window, where all of the line is in sight
		}
		if len(s.delimiters) == maxDelimiters {
			w.view.limit(LimitDelimiters)
			return len(window)
		}
		at = w.indexOne(s, off, window, i, off+int64(lineEndBefore(window, i)))
	}
}

// dashesEnd is where a row of "-" ends that begins at i.
func dashesEnd(window []byte, i int) int {
	for i += 2; i < len(window) && window[i] == '-'; {
		i++
	}

	return i
}

// lineEndBefore is where the line end begins that stands before i.
func lineEndBefore(window []byte, i int) int {
	if i > 1 && window[i-1] == '\n' && window[i-2] == '\r' {
		return i - 2
	}

	return i - 1
}

// midLine takes "--" in the middle of a line for a delimiter if a header follows: some readers look for the boundary
// anywhere.
func (w *walker) midLine(s *source, off int64, window []byte, i int) bool {
	rest := window[i+2 : min(len(window), i+2+82)]
	end := bytes.IndexByte(rest, '\n')
	if end < 1 {
		return false
	}
	if len(s.delimiters) == maxDelimiters {
		w.view.limit(LimitDelimiters)
		return false
	}
	next := i + 2 + end + 1
	line := window[next:min(len(window), next+120)]
	start, _, _ := breakAt(line)
	if _, _, ok := structural(line[:start]); !ok {
		return false
	}
	at := off + int64(i)
	s.delimiters = append(s.delimiters, delimiter{
		at: at, before: at, next: off + int64(next), length: int32(len(bytes.TrimRight(rest[:end], "\r"))), cr: true, header: true,
		inside: true,
	})
	return true
}

// beforeHeader says whether a field that structures the message follows, behind up to two lines that are all but empty.
func beforeHeader(window []byte, probe int) bool {
	for range 3 {
		rest := window[min(probe, len(window)):min(probe+120, len(window))]
		start, end, _ := breakAt(rest)
		if _, _, ok := structural(rest[:start]); ok {
			return true
		}
		if start > 2 || end == 0 {
			break
		}
		probe += end
	}
	return false
}

func (w *walker) indexOne(s *source, off int64, window []byte, i int, before int64) int {
	d := delimiter{at: off + int64(i), before: before, cr: i > 0 && window[i-1] == '\r'}
	d.lf = i > 0 && window[i-1] == '\n' && before == d.at-1
	line := window[i+2 : min(len(window), i+2+maxDelimiter)]
	start, end, kind := breakAt(line)
	d.length = int32(start)
	d.cr = d.cr || kind == 'r'
	next := i + 2 + end
	if kind == 0 && next < len(window) { // longer than any delimiter
		return next
	}
	d.next = off + int64(next)
	d.header = beforeHeader(window, next)
	s.delimiters = append(s.delimiters, d)
	return max(next-1, i+2)
}

// fit says how a line relates to a boundary.
type fit int

const (
	fitNot fit = iota
	fitPrefix
	fitJunk // the boundary, and something behind it
	fitOpen
	fitClose
)

// fits compares. RFC 2046 section 5.1.1: white space may follow the boundary.
func fits(line []byte, boundary string) fit {
	trimmed := bytes.TrimRight(line, " \t\r")
	want := len(boundary)
	for want > 0 && ascii.IsBlank(boundary[want-1]) {
		want--
	}
	if len(trimmed) < want || string(trimmed[:want]) != boundary[:want] {
		return fitNot
	}
	rest := trimmed[want:]
	switch {
	case len(rest) == 0:
		return fitOpen
	case string(rest) == "--":
		return fitClose
	case want == 0:
		return fitNot
	case isJunk(rest):
		return fitJunk
	}
	return fitPrefix
}

// isJunk says whether what follows a boundary can't be part of a longer one: half of a closing delimiter, white space, a
// comment.
func isJunk(rest []byte) bool { return string(rest) == "-" || rest[0] == '(' || !visible(rest[0]) }

// split is a multipart taken apart.
type split struct {
	parts              []region // from the header's start
	preamble, epilogue region
	closed             bool
	// other ways to take it apart that give something else
	crs, mixed, behind, junk, prefix bool
	lf, crlf                         bool // delimiters at line ends of the one kind, of the other
	junkAt                           int64
}

// way is a way to take a multipart apart: also at lone CR, past the closing delimiter, at lines with junk behind the
// boundary, at lines that only begin with it; or not at lines behind a lone LF.
type way struct{ cr, behind, junk, prefix, strict bool }

func (w *walker) split(s *source, body region, boundary string, how way) split {
	all := w.index(s)
	i := sort.Search(len(all), func(i int) bool { return all[i].at >= body.start })
	out := splitting{split: split{preamble: region{body.start, body.end}}, body: body, how: how, open: -1}

	for ; i < len(all) && all[i].at < body.end; i++ {
		d := all[i]
		if w.spend(32); w.stopped() {
			break
		}
		got := fits(s.slice(d.at+2, int(d.length)), boundary)
		if got == fitNot || out.overlooks(d, got) {
			continue
		}

		out.lineEnd(d)
		if out.closed && !how.behind {
			out.behind = out.behind || got != fitClose
			continue
		}
		out.end(d.before)
		if got == fitClose {
			out.closed = true
			out.epilogue = region{d.next, body.end}
			continue
		}
		if out.open = min(d.next, body.end); len(out.parts) > w.view.options.Parts+1 {
			break
		}
	}

	out.end(body.end)

	return out.split
}

// splitting is a body that is being taken apart in one way.
type splitting struct {
	split
	body region
	how  way
	open int64 // where the part began that has not ended yet, -1 for none
}

// end ends the part that is open, or the preamble.
func (p *splitting) end(at int64) {
	if p.open >= 0 {
		p.parts = append(p.parts, region{p.open, max(p.open, at)})
	} else if len(p.parts) == 0 {
		p.preamble.end = max(p.body.start, at)
	}
	p.open = -1
}

// overlooks says whether this way takes no notice of a delimiter; that another way would is noted.
func (p *splitting) overlooks(d delimiter, got fit) bool {
	switch {
	case d.lf && p.how.strict:
		return true
	case d.cr && !p.how.cr:
		p.crs = true
	case got == fitJunk && !p.how.junk:
		p.junk = true
	case got == fitPrefix && !p.how.prefix:
		p.prefix = true
	default:
		return false
	}
	p.junkAt = d.at

	return true
}

// lineEnd notes whether delimiters stand at line ends of both kinds.
func (p *splitting) lineEnd(d delimiter) {
	p.lf, p.crlf = p.lf || d.lf, p.crlf || !d.lf && d.at > p.body.start
	if p.lf && p.crlf && !p.mixed {
		p.mixed, p.junkAt = true, d.at
	}
}

// maxGuesses is how many boundaries are guessed for a part that declares none, or one that never comes.
const maxGuesses = 16

// endsInOne says whether a text ends in one of the boundaries.
func endsInOne(text string, boundaries []string) bool {
	return slices.ContainsFunc(boundaries, func(b string) bool { return b != "" && strings.HasSuffix(text, b) })
}

// guesses are the boundaries that lines in a region suggest by the header that follows them. In the middle of a line only a
// boundary that is declared is looked for by any reader: an address, a name or a quoted text may hold two dashes.
func (w *walker) guesses(s *source, body region, declared []string) (found []string) {
	all := w.index(s)
	i := sort.Search(len(all), func(i int) bool { return all[i].at >= body.start })
	for ; i < len(all) && all[i].at < body.end; i++ {
		if w.spend(8); w.stopped() {
			break
		}
		if !all[i].header {
			continue
		}
		guess := string(bytes.TrimRight(s.slice(all[i].at+2, int(all[i].length)), " \t\r"))
		if guess == "" || all[i].inside && !endsInOne(guess, declared) {
			continue
		}
		if len(found) == maxGuesses && !slices.Contains(found, guess) {
			w.view.limit(LimitReadings)
			break
		}
		found = appendOnce(found, guess)
	}
	return found
}
