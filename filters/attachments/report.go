package attachments

import (
	"slices"
	"strings"

	"postern/filters"
	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/internal/mimeview/contents"
)

const (
	// maxEach is how many findings of one symbol are told apart.
	maxEach = 5
	// manyParts is where mimeview ends to count the parts with the same content.
	manyParts = 64
)

// report gathers findings by symbol.
type report struct {
	by    map[string]*group
	grave bool
	size  int64
	// said are the "path: why" of what is unscannable and has a finding
	said map[string]bool
	// cut are parts that end where a returned message was cut off
	cut map[place]bool
}

type group struct {
	found []filters.Finding
	more  int
	// seen are texts of evidence
	seen map[string]bool
	// spans of what is not told apart; unlocated if one of them has none
	spans     []filters.PartSpan
	unlocated bool
}

func newReport(m *mail.Message) *report {
	r := &report{by: map[string]*group{}, said: map[string]bool{}, size: m.Size(), cut: cutOff(mimeview.Of(m).Root())}
	r.grave = slices.ContainsFunc(mimeview.Of(m).Ambiguities(), mimeview.Ambiguity.Grave)
	return r
}

func (r *report) group(symbol string) *group {
	g := r.by[symbol]
	if g == nil {
		g = &group{seen: map[string]bool{}}
		r.by[symbol] = g
	}
	return g
}

// add reports an item.
func (r *report) add(symbol string, i *contents.Item, detail string) {
	where := i.Where()
	if symbol == unscannable {
		r.said[strings.Join(i.Path, "/")+": "+detail] = true
	}
	evidence := where
	if detail != "" {
		// a long path must not push the reason out of sight
		evidence = tail(where, 100) + ": " + detail
	}
	spans := r.spans(i)
	g := r.group(symbol)
	if g.seen[evidence] {
		g.spans, g.unlocated = append(g.spans, spans...), g.unlocated || len(spans) == 0
		return
	}
	g.add(evidence, spans)
}

// has says whether a finding of a symbol ends like this.
func (r *report) has(symbol, end string) bool {
	g := r.by[symbol]
	return g != nil && slices.ContainsFunc(g.found, func(f filters.Finding) bool { return strings.HasSuffix(f.Evidence, end) })
}

// text reports what has no item.
func (r *report) text(symbol, evidence string) {
	g := r.group(symbol)
	if !g.seen[evidence] {
		g.add(evidence, nil)
	}
}

func (g *group) add(evidence string, spans []filters.PartSpan) {
	if len(g.found) == maxEach {
		g.more++
		g.spans, g.unlocated = append(g.spans, spans...), g.unlocated || len(spans) == 0
		return
	}
	g.seen[evidence] = true
	f := filters.Finding{Evidence: filters.Printable(evidence)}
	if len(spans) > 0 {
		f.Value = filters.Located{Spans: spans}
	}
	g.found = append(g.found, f)
}

// tail leaves the end of a path, where the file's own name stands.
func tail(path string, n int) string {
	if len(path) <= n {
		return path
	}
	return "..." + strings.ToValidUTF8(path[len(path)-n:], "")
}

// findings gives them in the order of the Spec; the worst alone if that is asked for.
func (r *report) findings(worst bool) (all []filters.Finding) {
	for _, s := range Spec.Symbols {
		g := r.by[s.Name]
		if g == nil || worst && !isWorst(s.Name) {
			continue
		}
		for _, f := range g.found {
			f.Symbol = s.Name
			all = append(all, f)
		}
		if g.more > 0 || g.unlocated || len(g.spans) > 0 {
			f := filters.Finding{Symbol: s.Name, Evidence: "and more"}
			if !g.unlocated {
				f.Value = filters.Located{Spans: unique(g.spans)}
			}
			all = append(all, f)
		}
	}
	return all
}

func isWorst(symbol string) bool { return symbol == eicar || symbol == hash || symbol == executable }

func unique(spans []filters.PartSpan) (all []filters.PartSpan) {
	seen := map[int64]bool{}
	for _, s := range spans {
		if !seen[s.Header] {
			seen[s.Header] = true
			all = append(all, s)
		}
	}
	return all
}

// spans are all parts of the message that carry the item; none if it also stands where no part, or a part in another
// reading, or one within something encoded, has it.
func (r *report) spans(i *contents.Item) (all []filters.PartSpan) {
	if r.grave || i.Object.Reading != "" || len(i.Object.Parts) == manyParts {
		return nil
	}
	for _, p := range i.Object.Parts {
		if p == nil {
			return nil
		}
		s, ok := filters.SpanOf(p, r.size)
		if !ok {
			return nil
		}
		all = append(all, s)
	}
	return all
}
