package house

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"time"
)

// metric is one number in Prometheus' text format. Labels never hold text from outside.
type metric struct {
	name, kind, help string
	labels           []string // name and value in turn
	value            float64
}

// metrics answers Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/.
func (h *House) metrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	writeMetrics(w, h.measure())
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

func (h *House) measure() []metric {
	var list []metric
	add := func(name, kind, help string, value float64, labels ...string) {
		list = append(list, metric{"postern_" + name, kind, help, labels, value})
	}
	for _, d := range h.doors {
		c := d.listener.Counts()
		add("connections_open", "gauge", "Connections that stand now.", float64(c.Open), "door", d.name)
		add("connections_total", "counter", "Connections let in.", float64(c.Accepted), "door", d.name)
		add("connections_refused_total", "counter", "Connections over a limit.", float64(c.TooMany+c.TooManyFromNetwork), "door", d.name)
		add("connections_banned_total", "counter", "Connections of clients that guessed passwords.", float64(c.Banned), "door", d.name)
	}
	remembered := h.out.State.Health()
	degraded := 0.0
	if remembered.Degraded {
		degraded = 1
	}
	add("state_degraded", "gauge", "Whether Redis is away and this gateway goes on from its own memory.", degraded)
	add("state_keys", "gauge", "Keys that are remembered on this machine.", float64(remembered.Keys))
	for fate, count := range h.Gateway.Verdicts() {
		add("recipients_total", "counter", "Recipients by what became of the message for them.", float64(count.Load()), "fate", string(fate))
	}
	away := 0.0
	book := h.Ledger.Health()
	if !book.Since.IsZero() {
		away = 1
	}
	add("ledger_degraded", "gauge", "Whether the ledger's database is away and records wait.", away)
	add("ledger_waiting", "gauge", "Records that are not written yet.", float64(book.Waiting))
	add("ledger_dropped_total", "counter", "Records that found no room and are lost.", float64(book.Dropped))
	kinds := map[string]float64{}
	for _, t := range h.Troubles() {
		kinds[t.Kind]++
	}
	for _, kind := range troubleKinds() {
		add("troubles", "gauge", "What an admin should look at now, by kind.", kinds[kind], "kind", kind)
	}
	for _, hop := range h.Relay.Health() {
		up := 0.0
		if hop.Up {
			up = 1
		}
		add("hop_connections", "gauge", "Connections to a next hop in use.", float64(hop.InUse), "hop", hop.Hop, "route", hop.Route)
		add("hop_waiting", "gauge", "Transactions that wait for a connection to a next hop.", float64(hop.Waiting), "hop", hop.Hop, "route", hop.Route)
		add("hop_no_room_total", "counter", "Transactions that waited in vain for a connection to a next hop; the ledger has each with its 451 4.3.2.", float64(hop.NoRoom), "hop", hop.Hop, "route", hop.Route)
		add("hop_up", "gauge", "Whether a next hop answered when it was last asked.", up, "hop", hop.Hop, "route", hop.Route)
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	add("queue_messages", "gauge", "Messages that wait for a next hop.", float64(h.Queue.Len()))
	for _, d := range h.Dependencies() {
		up, slow := 0.0, 0.0
		if d.Up {
			up = 1
		}
		if d.State == StandingSlow {
			slow = 1
		}
		add("dependency_slow", "gauge", "Whether something that the gateway needs answers, but late.", slow, "kind", d.Kind, "name", d.Name)
		add("dependency_answer_seconds", "gauge", "How long its last answer took.", float64(d.Took)/float64(time.Second/time.Millisecond), "kind", d.Kind, "name", d.Name)
		add("dependency_up", "gauge", "Whether something that the gateway needs was there when it was last asked.", up, "kind", d.Kind, "name", d.Name)
	}
	add("queue_given_up", "gauge", "Messages that were given up and wait for somebody to decide.", float64(h.Queue.GivenUp()))
	add("goroutines", "gauge", "Goroutines.", float64(runtime.NumGoroutine()))
	add("memory_bytes", "gauge", "Memory taken from the system, in octets.", float64(memory.Sys))
	add("start_time_seconds", "gauge", "When the gateway started, in seconds since 1970.", float64(h.started.UnixMilli())/float64(time.Second/time.Millisecond))
	sort.SliceStable(list, func(a, b int) bool { return strings.Join(list[a].labels, " ") < strings.Join(list[b].labels, " ") })
	return list
}
