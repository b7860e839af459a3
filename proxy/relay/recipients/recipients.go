// Package recipients knows who is a recipient before the next hop is asked: from a list, from a directory, and from
// what recent replies of the hop, so that address guessing causes it no load.
package recipients

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"postern/internal/mail"
	"postern/internal/state"
)

// Directory knows the addresses of a company, LDAP for one.
type Directory interface {
	// Has reports whether an address exists. An error means that it is unknown.
	Has(ctx context.Context, a mail.Address) (bool, error)
}

// Options say where recipients are known from; all may be empty.
type Options struct {
	// List is the file of a list: one address in each line, "@example.com" for a whole domain, "#" begins a comment.
	List string
	// Directory is asked instead of the next hop, nil for none.
	Directory Directory
	// Known and Unknown are how long it is remembered that an address exists, and that it does not.
	Known, Unknown time.Duration
	State          *state.State
	Now            func() time.Time
	Log            *slog.Logger
}

// Recipients answers for the next hop where it can. It implements proxy.Recipients.
type Recipients struct {
	Options
	list *list // nil without one
	// away is set while the directory does not answer: one line in the log for each outage.
	away atomic.Bool
}

// New reads the list. Its error names the line that can't be read.
func New(o Options) (*Recipients, error) {
	r := &Recipients{Options: o}
	if o.List != "" {
		var err error
		if r.list, err = openList(o.List, o.Now, o.Log); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Close gives up what New and the directory hold.
func (r *Recipients) Close() error {
	if c, ok := r.Directory.(interface{ Close() error }); ok {
		return c.Close()
	}
	return nil
}

// Ask gives the answer to a recipient nobody knows; in all other cases the next hop has the word. RFC 5321 section 3.3:
// 550 for a mailbox that does not exist.
func (r *Recipients) Ask(ctx context.Context, route mail.Route, a mail.Address) (mail.Reply, bool) {
	// RFC 5321 section 4.5.1: postmaster is a mailbox of every domain, whatever a list says.
	if strings.EqualFold(a.Local, "postmaster") {
		return mail.Reply{}, false
	}
	if r.list != nil && !r.list.has(a) {
		return noSuchUser(a), true
	}
	if text, ok := r.State.Get(ctx, key("unknown", route, a)); ok {
		var said mail.Reply
		if json.Unmarshal(text, &said) == nil && said.Permanent() {
			return said, true
		}
	}
	if r.Directory == nil {
		return mail.Reply{}, false
	}
	return r.look(ctx, route, a)
}

// look asks the directory. If it can't tell, the next hop is asked.
func (r *Recipients) look(ctx context.Context, route mail.Route, a mail.Address) (mail.Reply, bool) {
	if _, known := r.State.Get(ctx, key("known", route, a)); known {
		return mail.Reply{}, false
	}
	has, err := r.Directory.Has(ctx, a)
	switch {
	case err != nil:
		if !r.away.Swap(true) {
			r.Log.Error("the directory of recipients can't be asked, the next hop is asked instead", "error", err)
		}
		return mail.Reply{}, false
	case r.away.Swap(false):
		r.Log.Info("the directory of recipients answers again")
	}
	if has {
		r.State.Put(ctx, key("known", route, a), []byte{1}, r.Known)
		return mail.Reply{}, false
	}
	r.remember(ctx, route, a, noSuchUser(a))
	return noSuchUser(a), true
}

// Accepted implements proxy.Recipients.
func (r *Recipients) Accepted(ctx context.Context, route mail.Route, a mail.Address) bool {
	_, taken := r.State.Get(ctx, key("taken", route, a))
	return taken
}

// Told remembers that the next hop took a recipient, or knows no such mailbox. RFC 3463 section 3.2: X.1.1 to X.1.3 and X.1.6, X.1.10 say so;
// all other refusals may be about the sender or about today.
func (r *Recipients) Told(ctx context.Context, route mail.Route, a mail.Address, said mail.Reply) {
	if said.Positive() {
		r.State.Put(ctx, key("taken", route, a), []byte{1}, r.Known)
		return
	}
	if !said.Permanent() {
		return
	}
	switch said.Enhanced {
	case "5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10":
		r.remember(ctx, route, a, said)
	}
}

// maxText is how much of a hop's words is remembered, in octets.
const maxText = 300

func (r *Recipients) remember(ctx context.Context, route mail.Route, a mail.Address, said mail.Reply) {
	if len(said.Text) > maxText {
		said.Text = strings.ToValidUTF8(said.Text[:maxText], "")
	}
	text, err := json.Marshal(said)
	if err != nil { // a code and two texts always can
		return
	}
	r.State.Put(ctx, key("unknown", route, a), text, r.Unknown)
}

func key(kind string, route mail.Route, a mail.Address) string {
	return state.Key("rcpt-"+kind, route.String(), a.Key())
}

func noSuchUser(a mail.Address) mail.Reply {
	text := "No such user here"
	if !a.NeedsUTF8() { // RFC 6531 section 3.7.4.2: UTF-8 in replies only to those who asked for it
		text += ": " + a.String()
	}
	return mail.Reply{Code: 550, Enhanced: "5.1.1", Text: text}
}
