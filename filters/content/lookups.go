package content

import (
	"context"
	"slices"
	"sync"
	"time"

	"postern/internal/dns"
	"postern/rules"
)

// How much rules may ask for one message. What is not answered by then is not known.
const (
	maxQuestions = 150
	askers       = 16
	askingTime   = 4 * time.Second
)

// question is a name that rules look up.
type question struct {
	name string
	kind questionKind
}

type questionKind int

const (
	askAddress questionKind = iota
	askText
	askDead
)

// answers implements eval.Lists. It is filled in two steps: first it only notes what is asked, then it knows.
type answers struct {
	known map[question][]string
	asked []question
}

func (a *answers) get(q question) []string {
	v, ok := a.known[q]
	if !ok {
		a.known[q] = nil
		if len(a.asked) < maxQuestions {
			a.asked = append(a.asked, q)
		}
	}
	return v
}

func full(name, zone string) string {
	if zone == "" {
		return name
	}
	return name + "." + zone
}

// Listed implements eval.Lists.
func (a *answers) Listed(name, zone string) []string {
	return a.get(question{full(name, zone), askAddress})
}

// Texts implements eval.Lists.
func (a *answers) Texts(name, zone string) []string {
	return a.get(question{full(name, zone), askText})
}

// Dead implements eval.Lists.
func (a *answers) Dead(name string) bool { return len(a.get(question{name, askDead})) > 0 }

// ask finds out what the rules ask about a message, and asks it, side by side.
func (f *filter) ask(ctx context.Context, in rules.Input) *answers {
	a := &answers{known: map[question][]string{}}
	in.Lists = a
	f.set.Rehearse(in)
	ctx, cancel := context.WithTimeout(ctx, askingTime)
	defer cancel()
	var mu sync.Mutex
	var group sync.WaitGroup
	room := make(chan struct{}, askers)
	for _, q := range slices.Clone(a.asked) {
		group.Add(1)
		go func() {
			defer group.Done()
			room <- struct{}{}
			v := f.answer(ctx, q)
			<-room
			mu.Lock()
			defer mu.Unlock()
			a.known[q] = v
		}()
	}
	group.Wait()
	a.asked = nil
	return a
}

func (f *filter) answer(ctx context.Context, q question) (all []string) {
	switch q.kind {
	case askText:
		all, _ = f.env.DNS.LookupTXT(ctx, q.name)
	case askDead:
		exists, err := f.env.DNS.Exists(ctx, q.name)
		if err == nil && !exists || err != nil && dns.IsNotFound(err) {
			return []string{"dead"}
		}
	default:
		addresses, _ := f.env.DNS.LookupA(ctx, q.name)
		for _, address := range addresses {
			all = append(all, address.String())
		}
	}
	return all
}
