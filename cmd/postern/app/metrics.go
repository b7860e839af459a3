package app

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"time"

	"postern/proxy/health"
)

// metric is one number in Prometheus' text format. Labels never hold text from outside.
type metric struct {
	name, kind, help string
	labels           []string // name and value in turn
	value            float64
}

// metrics answers Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/.
func (a *App) metrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	writeMetrics(w, a.measure())
}

// writeMetrics writes all samples of a name together, as the format wants it, with one line of help.
func writeMetrics(w io.Writer, list []metric) {
	sort.SliceStable(list, func(a, b int) bool { return list[a].name < list[b].name })
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	for i, m := range list {
		if i == 0 || list[i-1].name != m.name {
			fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", m.name, m.help, m.name, m.kind)
		}
		var labels []string
		for n := 0; n+1 < len(m.labels); n += 2 {
			labels = append(labels, m.labels[n]+`="`+quote.Replace(m.labels[n+1])+`"`)
		}
		text := ""
		if len(labels) > 0 {
			text = "{" + strings.Join(labels, ",") + "}"
		}
		fmt.Fprintf(w, "%s%s %s\n", m.name, text, strconv.FormatFloat(m.value, 'g', -1, 64))
	}
}

// samples collects metrics.
type samples []metric

func (s *samples) add(name, kind, help string, value float64, labels ...string) {
	*s = append(*s, metric{"postern_" + name, kind, help, labels, value})
}

// one is 1 for true, as Prometheus has no booleans.
func one(yes bool) float64 {
	if yes {
		return 1
	}

	return 0
}

func (a *App) measure() []metric {
	var s samples
	a.measureDoors(&s)
	a.measureStores(&s)
	a.measureHops(&s)

	kinds := map[string]float64{}
	for _, t := range a.Troubles() {
		kinds[t.Kind]++
	}
	for _, kind := range health.TroubleKinds() {
		s.add("troubles", "gauge", "What an admin should look at now, by kind.", kinds[kind], "kind", kind)
	}
	for _, d := range a.Dependencies() {
		s.add("dependency_up", "gauge", "Whether something that the gateway needs was there when it was last asked.", one(d.Up), "kind", d.Kind, "name", d.Name)
		s.add("dependency_slow", "gauge", "Whether something that the gateway needs answers, but late.", one(d.State == health.Slow), "kind", d.Kind, "name", d.Name)
		s.add("dependency_answer_seconds", "gauge", "How long its last answer took.", float64(d.Took)/float64(time.Second/time.Millisecond), "kind", d.Kind, "name", d.Name)
	}

	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	s.add("goroutines", "gauge", "Goroutines.", float64(runtime.NumGoroutine()))
	s.add("memory_bytes", "gauge", "Memory taken from the system, in octets.", float64(memory.Sys))
	s.add("start_time_seconds", "gauge", "When the gateway started, in seconds since 1970.", float64(a.started.UnixMilli())/float64(time.Second/time.Millisecond))
	sort.SliceStable(s, func(i, j int) bool { return strings.Join(s[i].labels, " ") < strings.Join(s[j].labels, " ") })

	return s
}

func (a *App) measureDoors(s *samples) {
	for _, d := range a.doors {
		c := d.listener.Counts()
		s.add("connections_open", "gauge", "Connections that stand now.", float64(c.Open), "door", d.name)
		s.add("connections_total", "counter", "Connections let in.", float64(c.Accepted), "door", d.name)
		s.add("connections_refused_total", "counter", "Connections over a limit.", float64(c.TooMany+c.TooManyFromNetwork), "door", d.name)
		s.add("connections_banned_total", "counter", "Connections of clients that guessed passwords.", float64(c.Banned), "door", d.name)
	}
	for fate, count := range a.Gateway.Verdicts() {
		s.add("recipients_total", "counter", "Recipients by what became of the message for them.", float64(count.Load()), "fate", string(fate))
	}
}

// measureStores measures the state and the stores.
func (a *App) measureStores(s *samples) {
	remembered, book := a.out.State.Health(), a.Ledger.Health()
	s.add("state_degraded", "gauge", "Whether Redis is away and this gateway goes on from its own memory.", one(remembered.Degraded))
	s.add("state_keys", "gauge", "Keys that are remembered on this machine.", float64(remembered.Keys))
	s.add("ledger_degraded", "gauge", "Whether the ledger's database is away and records wait.", one(!book.Since.IsZero()))
	s.add("ledger_waiting", "gauge", "Records that are not written yet.", float64(book.Waiting))
	s.add("ledger_dropped_total", "counter", "Records that found no room and are lost.", float64(book.Dropped))
	s.add("queue_messages", "gauge", "Messages that wait for a next hop.", float64(a.Queue.Len()))
	s.add("queue_given_up", "gauge", "Messages that were given up and wait for somebody to decide.", float64(a.Queue.GivenUp()))
}

func (a *App) measureHops(s *samples) {
	for _, hop := range a.Relay.Health() {
		labels := []string{"hop", hop.Hop, "route", hop.Route}
		s.add("hop_connections", "gauge", "Connections to a next hop in use.", float64(hop.InUse), labels...)
		s.add("hop_waiting", "gauge", "Transactions that wait for a connection to a next hop.", float64(hop.Waiting), labels...)
		s.add("hop_no_room_total", "counter", "Transactions that waited in vain for a connection to a next hop; the ledger has each with its 451 4.3.2.", float64(hop.NoRoom), labels...)
		s.add("hop_up", "gauge", "Whether a next hop answered when it was last asked.", one(hop.Up), labels...)
	}
}
