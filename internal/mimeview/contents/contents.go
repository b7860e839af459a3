// Package contents says what is in a message besides its text: every attachment in every reading, and everything inside
// them. It is read once for all filters that ask, within one budget for the message. All texts are an attacker's: escape
// them before they are shown.
package contents

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/internal/mimeview/unpack"
)

// Item is an attachment, or something inside one.
type Item struct {
	// Path says how we got here, the attachment's name first.
	Path []string
	// Names are all candidate names. Extensions are those that any system would see in them, Opens those by which one
	// chooses what opens the file: lower case, with their dot.
	Names, Extensions, Opens []string
	// Types are what the content can be, the most likely first; Declared what the mail says of it, "" for what is inside
	// an attachment.
	Types    []unpack.Type
	Declared []string
	// Size is in octets. Hash is the SHA-256 of them.
	Size  int64
	Hash  [32]byte
	Flags []unpack.Flag
	// Parent is what it lies in, nil for what the message itself carries.
	Parent *Item
	// Object is the content of the message that it came with.
	Object *mimeview.Object
	// Plain says that a reader that keeps to the RFCs finds it; false, that only another reading does.
	Plain bool
	// Body says that readers show it as the message's text, so that it is no attachment.
	Body bool

	kept    *unpack.Object
	root    *root
	ordinal int
}

// Has says whether the item carries a flag of this kind.
func (i *Item) Has(k unpack.Kind) bool {
	return slices.ContainsFunc(i.Flags, func(f unpack.Flag) bool { return f.Kind == k })
}

// Is says whether the content can be of one of these media types.
func (i *Item) Is(types ...string) bool {
	return slices.ContainsFunc(i.Types, func(t unpack.Type) bool { return slices.Contains(types, t.Name) })
}

// Where is the path as one text.
func (i *Item) Where() string {
	path := slices.Clone(i.Path)
	for at, name := range path {
		if name == "" {
			path[at] = "(no name)"
		}
	}
	return strings.Join(path, "/")
}

// Link is a link in an attachment.
type Link struct {
	URL  string
	Item *Item
}

// Found is what is in a message. Items stand in the order of the message, what is inside an attachment behind it.
type Found struct {
	Items []*Item
	// Limits, Unscannable and Encrypted name, with their place, what was not looked at, could not be read, or no password
	// opened. Nothing in Limits and Unscannable means that everything was looked at that the mimeview gave.
	Limits, Unscannable, Encrypted []string
	Links                          []Link
	// MoreLinks says that there are more links than Links holds.
	MoreLinks bool
	// Decoded is the number of octets that were looked at.
	Decoded int64
}

// Limits bound the reading of one message: those of unpack.Walk, for all its attachments together. Zeros are the
// defaults there.
type Limits = unpack.Limits

// Contents are the contents of one message. They are read when they are first asked for and serve several goroutines.
type Contents struct {
	message *mail.Message
	once    sync.Once
	quit    context.Context
	stop    context.CancelFunc

	mu     sync.Mutex
	limits Limits
	found  *Found
	err    error
	nested []io.Closer
}

type key struct{}

// Of gives the contents of a message, the same for all who ask. They are closed with the message.
func Of(m *mail.Message) *Contents {
	return m.Derive(key{}, func() any {
		c := &Contents{message: m, err: errUnfinished}
		c.quit, c.stop = context.WithCancel(context.Background())
		return c
	}).(*Contents)
}

// errUnfinished stays where reading broke in the middle.
var errUnfinished = errors.New("the attachments were not read to their end")

// Bound sets the limits. It has no effect once reading has begun.
func (c *Contents) Bound(l Limits) {
	c.mu.Lock()
	c.limits = l
	c.mu.Unlock()
}

// Read gives what is in the message. The first call does the work, in the time that its context leaves and at most Limits.Time.
// The error is ours: the spooled message can't be read, or the context was cancelled.
func (c *Contents) Read(ctx context.Context) (*Found, error) {
	c.once.Do(func() {
		c.mu.Lock()
		w := newWalk(c, c.limits)
		c.mu.Unlock()
		ctx, cancel := context.WithTimeout(ctx, w.limits.Time)
		defer cancel()
		defer context.AfterFunc(c.quit, cancel)()
		w.ctx = ctx
		err := w.message()
		c.found, c.err = w.found, err
	})
	return c.found, c.err
}

// errClosed is the error of contents that were closed before they were read.
var errClosed = errors.New("the message was closed before its contents were read")

// Close frees what is held. Items can't be opened any more.
func (c *Contents) Close() error {
	c.stop()
	c.once.Do(func() { c.found, c.err = &Found{}, errClosed }) // waits for who reads
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	for _, n := range c.nested {
		err = errors.Join(err, n.Close())
	}
	c.nested = nil
	return err
}

// Open gives the content of an item. What was not kept is unpacked again.
func (c *Contents) Open(ctx context.Context, i *Item) (io.ReadCloser, error) {
	switch {
	case i.kept != nil:
		return i.kept.Open()
	case i.ordinal == 0 && i.root.inner == nil:
		return i.root.object.Open()
	}
	return i.root.again(ctx, i.ordinal)
}

// The defaults where Limits has zeros; those of unpack that are not shared out stay its own.
const (
	defaultEntries = 2000
	defaultTotal   = 200 << 20
	defaultTime    = 20 * time.Second
)

func newWalk(c *Contents, l Limits) *walk {
	if l.Entries <= 0 {
		l.Entries = defaultEntries
	}
	if l.Total <= 0 {
		l.Total = defaultTotal
	}
	if l.Time <= 0 {
		l.Time = defaultTime
	}
	w := &walk{c: c, limits: l, end: time.Now().Add(l.Time), found: &Found{}, seen: map[[32]byte][]*Item{}, opened: map[place]bool{}}
	w.passwords = sync.OnceValue(func() []string { return passwords(mimeview.Of(c.message)) })
	return w
}
