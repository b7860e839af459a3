package web

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"postern/policy/records/tally"
	"postern/proxy/health"
)

// periods are the spans of time of an overview, in hours.
type period struct {
	Hours int
	Name  string
	Here  bool
}

// figure is a number that leads to what it counts.
type figure struct {
	Name, Class, Path string
	N                 int
	More              bool // there are more, not counted
}

// overviewPage is what the template gets.
type overviewPage struct {
	Periods  []period
	Figures  []figure
	Chart    chart
	Incoming int
	Known    time.Time // from when on everything was counted, zero if all of the period was
	Troubles []health.Trouble
	Learned  *learned
	Tops     []top
}

// top is a list of the names seen most.
type top struct {
	Title, Empty string
	Rows         []topRow
}

type topRow struct {
	Name, Path string
	N, Percent int // of the first
}

func (v *visit) overview() error {
	if !v.may(http.MethodGet, "/statistics") { // a domain's admin and a user have their mail
		http.Redirect(v.w, v.r, "/quarantine", http.StatusSeeOther)
		return nil
	}
	hours, _ := strconv.Atoi(v.r.URL.Query().Get("hours"))
	var p overviewPage
	for _, one := range []period{{Hours: 1, Name: "Now"}, {Hours: 24, Name: "Day"}, {Hours: 168, Name: "Week"}} {
		one.Here = one.Hours == hours || hours == 0 && one.Hours == 24
		if one.Here {
			hours = one.Hours
		}
		p.Periods = append(p.Periods, one)
	}
	var s tally.Summary
	if err := v.ask(http.MethodGet, "/statistics?hours="+strconv.Itoa(hours), nil, &s); err != nil {
		return err
	}
	var status struct {
		Troubles []health.Trouble `json:"troubles"`
	}
	if err := v.ask(http.MethodGet, "/status", nil, &status); err != nil {
		return err
	}
	p.Troubles = status.Troubles
	if s.Known.After(s.Since) {
		p.Known = s.Known
	}
	p.Figures, p.Incoming = figures(s)
	if err := v.waiting(&p); err != nil {
		return err
	}
	p.Chart, p.Tops = chartOf(s), tops(s)
	if v.ask(http.MethodGet, "/classifier", nil, &p.Learned) != nil {
		p.Learned = nil // it is off
	}

	return v.show("overview", "Overview", "Overview", p)
}

// heldCounted is how many held messages are counted.
const heldCounted = 500

// waiting adds what waits for somebody: held mail, and the queue.
func (v *visit) waiting(p *overviewPage) error {
	var held struct {
		Messages []heldItem `json:"messages"`
		Next     string     `json:"next"`
	}
	if err := v.ask(http.MethodGet, "/quarantine?limit="+strconv.Itoa(heldCounted), nil, &held); err != nil {
		return err
	}
	var queued []queueItem
	if err := v.ask(http.MethodGet, "/queue", nil, &queued); err != nil {
		return err
	}
	p.Figures = append(p.Figures, figure{Name: "waiting in quarantine", Class: "wait", Path: "/quarantine", N: len(held.Messages), More: held.Next != ""},
		figure{Name: "in the queue", Class: "wait", Path: "/queue", N: len(queued)})

	return nil
}

func figures(s tally.Summary) (all []figure, incoming int) {
	since := "&since=" + url.QueryEscape(s.Since.Format(time.RFC3339))
	for _, verdict := range tally.Verdicts() {
		path := "/messages?verdict=" + dispositionFor(verdict) + since
		if verdict == tally.Early {
			path = "/messages?verdict=reject" + since
		}
		all = append(all, figure{Name: nameOf(verdict), Class: string(verdict), Path: path, N: s.Total[verdict]})
		incoming += s.Total[verdict]
	}

	return all, incoming
}

// dispositionFor is the word by which a search finds a verdict.
func dispositionFor(v tally.Verdict) string {
	switch v {
	case tally.Tagged:
		return "tag"
	case tally.Held:
		return "quarantine"
	case tally.Rejected, tally.Early:
		return "reject"
	case tally.Deferred:
		return "defer"
	default:
		return "accept"
	}
}

func nameOf(v tally.Verdict) string {
	if v == tally.Early {
		return "refused before DATA"
	}

	return string(v)
}

func tops(s tally.Summary) []top {
	since := "&since=" + url.QueryEscape(s.Since.Format(time.RFC3339))
	return []top{
		{"Symbols that weighed", "No symbol has weighed yet.", topRows(s.Symbols, "/messages?q=symbol:", since)},
		{"Senders held or refused", "Nothing was held or refused.", topRows(s.Senders, "/messages?q=from:", since)},
		{"Networks held or refused", "Nothing was held or refused.", topRows(s.Networks, "/messages?q=client:", since)},
		{"Busiest recipients", "Nobody got mail.", topRows(s.Recipients, "/messages?q=to:", since)},
		{"Refused before DATA, by reply", "Nobody was.", topRows(s.Refusals, "", "")},
	}
}

func topRows(counts []tally.Count, path, since string) (rows []topRow) {
	for _, c := range counts {
		r := topRow{Name: c.Name, N: c.N, Percent: 100 * c.N / max(counts[0].N, 1)}
		if path != "" && c.Name != tally.Others && c.Name != "<>" {
			r.Path = path + url.QueryEscape(c.Name) + since
		}
		rows = append(rows, r)
	}

	return rows
}

// chart is a stacked bar for each hour, or for each six.
type chart struct {
	Bars   []bar
	Lines  []line
	Labels []label
	Empty  bool
	// Width and Height are those of the drawing, in its own units.
	Width, Height int
}

type bar struct {
	X, Width       int
	Path, Title    string
	Pieces         []piece
	Total          int
	Top, FullWidth int
}

type piece struct {
	Y, Height int
	Class     string
}

type line struct {
	Y    int
	Text string
}

type label struct {
	X    int
	Text string
}

// Measures of a chart.
const (
	chartWidth  = 960
	chartHeight = 220
	chartLeft   = 44
	chartFoot   = 24
	chartTop    = 10
	maxBars     = 30
)

func chartOf(s tally.Summary) chart {
	hours, each := s.Hours, 1
	for len(hours)/each > maxBars {
		each *= 6
	}
	c := chart{Width: chartWidth, Height: chartHeight, Empty: true}
	var groups []tally.Hour
	for at := 0; at < len(hours); at += each {
		g := tally.Hour{Start: hours[at].Start, Counts: map[tally.Verdict]int{}}
		for _, h := range hours[at:min(at+each, len(hours))] {
			for verdict, n := range h.Counts {
				g.Counts[verdict] += n
			}
		}
		groups = append(groups, g)
	}
	highest := 0
	for _, g := range groups {
		highest = max(highest, total(g))
	}
	c.Empty = highest == 0
	scale := roundUp(max(highest, 4))
	room := chartHeight - chartFoot - chartTop
	for i := range 5 {
		c.Lines = append(c.Lines, line{chartTop + room*i/4, strconv.Itoa(scale * (4 - i) / 4)})
	}
	step := (chartWidth - chartLeft) / max(len(groups), 1)
	for i, g := range groups {
		b := bar{X: chartLeft + i*step, FullWidth: step, Width: min(max(step*3/4, 3), 46), Total: total(g), Top: chartTop}
		b.pieces(g, scale, room)
		b.describe(g, time.Duration(each)*time.Hour)
		c.Bars = append(c.Bars, b)
		if every := max(len(groups)/8, 1); i%every == 0 {
			c.Labels = append(c.Labels, label{b.X + b.Width/2, labelOf(g.Start, each)})
		}
	}

	return c
}

func labelOf(t time.Time, each int) string {
	if each > 1 {
		return t.Local().Format("Mon 15h")
	}

	return t.Local().Format("15:04")
}

func total(h tally.Hour) (n int) {
	for _, one := range h.Counts {
		n += one
	}

	return n
}

// roundUp gives a number that four lines divide well.
func roundUp(n int) int {
	for unit := 4; ; unit *= 10 {
		for _, by := range []int{1, 2, 5} {
			if n <= unit*by {
				return unit * by
			}
		}
	}
}

func (b *bar) pieces(h tally.Hour, scale, room int) {
	foot, sum := chartTop+room, 0
	for _, verdict := range tally.Verdicts() {
		if n := h.Counts[verdict]; n > 0 {
			from := room * sum / scale
			sum += n
			height := max(room*sum/scale-from, 1)
			b.Pieces = append(b.Pieces, piece{foot - from - height, height, string(verdict)})
		}
	}
}

func (b *bar) describe(h tally.Hour, long time.Duration) {
	b.Title = h.Start.Local().Format("2 Jan 15:04")
	for _, verdict := range tally.Verdicts() {
		if n := h.Counts[verdict]; n > 0 {
			b.Title += fmt.Sprintf("\n%s: %d", nameOf(verdict), n)
		}
	}
	b.Path = "/messages?since=" + url.QueryEscape(h.Start.Format(time.RFC3339)) + "&until=" + url.QueryEscape(h.Start.Add(long).Format(time.RFC3339))
}
