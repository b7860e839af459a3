package contents

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/internal/mimeview/unpack"
	"postern/internal/mimeview/unpack/filetype"
)

// walk is the reading of one message under way.
type walk struct {
	c         *Contents
	ctx       context.Context
	limits    Limits
	end       time.Time
	found     *Found
	seen      map[[32]byte][]*Item
	passwords func() []string
	opened    map[place]bool // that open without a fault in the RFC's reading
	kept      int64          // octets of items that stay in memory
}

const (
	// maxMails is how many mails may lie within each other, each in an attachment of the one before.
	maxMails = 3
	// maxText is how long a text may be that is not taken apart, in octets.
	maxText = 256 << 10
	// keepEach and keepAll say how much stays in memory for scanners; the rest is unpacked again for them.
	keepEach, keepAll = 1 << 20, 8 << 20
	maxLinks          = 500
	maxNotes          = 100
)

// root is what one unpack.Walk begins at.
type root struct {
	object *mimeview.Object
	inner  []byte // what an S/MIME envelope holds, which is looked at in the place of the object
	names  []string
	o      unpack.Options
}

// again unpacks the object of this number once more.
func (r *root) again(ctx context.Context, number int) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	content, size, closing, err := r.open()
	if err != nil {
		return nil, err
	}
	defer closing()
	var found *unpack.Object
	at, o := 0, r.o
	o.Time = 0 // the default: what was left then has nothing to do with now
	unpack.Walk(ctx, r.names, content, size, o, func(o *unpack.Object) {
		if at == number {
			found = o
			cancel()
		}
		at++
	})
	if found == nil {
		return nil, errors.Join(ctx.Err(), errUnfinished)
	}
	return found.Open()
}

func (r *root) open() (content io.ReaderAt, size int64, closing func(), err error) {
	if r.inner != nil {
		return bytes.NewReader(r.inner), int64(len(r.inner)), func() {}, nil
	}
	f, err := r.object.Open()
	if err != nil {
		return nil, 0, nil, err
	}
	at, ok := f.(io.ReaderAt)
	if !ok {
		return nil, 0, nil, errors.Join(os.ErrInvalid, f.Close())
	}
	return at, r.object.Size, func() { _ = f.Close() }, nil // read only: nothing is lost
}

// message walks over the contents of the message itself.
func (w *walk) message() error {
	v := mimeview.Of(w.c.message)
	for _, o := range v.Objects() {
		if err := w.object(o, nil, 0); err != nil {
			return err
		}
	}
	if errors.Is(w.ctx.Err(), context.Canceled) {
		return w.ctx.Err()
	}
	return v.Err()
}

// origin is where the contents of a mail inside an attachment belong.
type origin struct {
	item *Item
}

// met says whether an object was met on the way into another one, under the same names.
func (w *walk) met(o *mimeview.Object) bool {
	return slices.ContainsFunc(w.seen[o.Hash], func(i *Item) bool {
		return i.Size == o.Size && !slices.ContainsFunc(o.Names, func(n string) bool { return !slices.Contains(i.Names, n) })
	})
}

// object looks at one content. above is set for those of a mail in an attachment, which lies depth mails deep.
func (w *walk) object(o *mimeview.Object, above *origin, depth int) error {
	body := isText(o)
	if body && o.Size <= maxText {
		plain, err := harmless(o)
		if plain || err != nil {
			return err
		}
	}
	if w.met(o) || w.stopped(o.Names) {
		return nil
	}
	r := &root{object: o, names: o.Names, o: w.options()}
	mails, err := w.unpack(r, above, body)
	if err != nil {
		return err
	}
	for _, m := range mails {
		if m.item.ordinal == 0 && isMessage(o) { // the view has been there
			continue
		}
		w.mail(m.item, m.content, depth+1)
	}
	return w.envelope(o, above, depth)
}

// isText says whether readers show it as the text of a message and nothing else.
func isText(o *mimeview.Object) bool {
	for _, p := range o.Parts {
		if p != nil && p.Attachment {
			return false
		}
	}
	return len(o.Names) == 0 && !slices.ContainsFunc(o.Types, func(t string) bool {
		return t != "text/plain" && t != "text/html" && (t != "text/x-amp-html" || !alternatives(o))
	})
}

// alternatives says whether it stands as one of several forms of a text. Mail in AMP does: a reader that knows it runs no script
// but the library's own, any other takes the form beside it.
func alternatives(o *mimeview.Object) bool {
	return len(o.Parts) > 0 && !slices.ContainsFunc(o.Parts, func(p *mimeview.Part) bool { return p == nil || !p.Alternative })
}

func isMessage(o *mimeview.Object) bool {
	return slices.Contains(o.Types, "message/rfc822") || slices.Contains(o.Types, "message/global") || slices.Contains(o.Types, "message/news")
}

// harmless says whether a text is just that. What a program or an archive begins with is looked at whatever it is said
// to be; scripts and links count only where a name makes a file of them.
func harmless(o *mimeview.Object) (bool, error) {
	content, err := o.Head(int(o.Size))
	if err != nil {
		return false, err
	}
	if bytes.HasPrefix(content, []byte("X5O!P%@AP")) || bytes.Contains(bytes.ToLower(content), []byte("data:application/")) {
		return false, nil // may be the EICAR test file, or has a file in a link
	}
	for _, t := range filetype.Detect(content, nil) {
		switch t.Class {
		case filetype.Text, filetype.HTML, filetype.Script, filetype.Image, filetype.Other:
		case filetype.Mail, filetype.Shortcut:
			if t.Name == "application/vnd.ms-tnef" || t.Name == "application/x-ms-shortcut" {
				return false, nil
			}
		default:
			return false, nil
		}
	}
	return true, nil
}

// options are what is left of the budget.
func (w *walk) options() unpack.Options {
	l := w.limits
	l.Entries -= len(w.found.Items)
	l.Total -= w.found.Decoded
	l.Time = time.Until(w.end)
	return unpack.Options{Limits: l, Passwords: w.passwords()}
}

func (w *walk) stopped(path []string) bool {
	l := w.limits
	switch {
	case len(w.found.Items) >= l.Entries:
		w.limit(path, "entries")
	case w.found.Decoded >= l.Total:
		w.limit(path, "total")
	case w.ctx.Err() != nil || time.Until(w.end) <= 0:
		w.limit(path, "time")
	default:
		return false
	}
	return true
}

func (w *walk) limit(path []string, what string) {
	note(&w.found.Limits, first(path)+": "+what)
}

func first(names []string) string {
	if len(names) == 0 || names[0] == "" {
		return "(no name)"
	}
	return names[0]
}

func note(list *[]string, text string) {
	if len(*list) < maxNotes && !slices.Contains(*list, text) {
		*list = append(*list, text)
	}
}

// enclosed is a mail that was found in an attachment.
type enclosed struct {
	item    *Item
	content io.ReadCloser
}

// unpack walks over one content and makes items of what it meets.
func (w *walk) unpack(r *root, above *origin, body bool) (mails []enclosed, err error) {
	content, size, closing, err := r.open()
	if err != nil {
		return nil, err
	}
	defer closing()
	at := len(w.found.Items)
	var stack []*Item // the way to the object before
	number := 0
	result := unpack.Walk(w.ctx, r.names, content, size, r.o, func(o *unpack.Object) {
		i := w.item(r, o, number)
		i.Body = body && number == 0
		number++
		stack = stack[:min(len(stack), len(o.Path)-1)]
		switch {
		case len(stack) > 0:
			i.Parent = stack[len(stack)-1]
		case above != nil:
			i.Parent = above.item
		}
		stack = append(stack, i)
		if above != nil {
			i.Path = append(slices.Clone(above.item.Path), i.Path...)
			i.Object, i.Plain = above.item.Object, above.item.Plain && i.Plain
		}
		if i.Is("message/rfc822") {
			if f, err := o.Open(); err == nil {
				mails = append(mails, enclosed{i, f})
			}
		}
	})
	w.sum(r, above, w.sound(r, above, at, result))
	w.found.Decoded += size
	return mails, nil
}

// place is where the encoded form of a content stands.
type place struct {
	within string
	offset int64
	above  *Item
}

func placeOf(o *mimeview.Object, above *origin) place {
	p := place{within: o.Within, offset: o.Offset}
	if above != nil {
		p.above = above.item
	}
	return p
}

// sound weighs another way to undo an encoding. Where the way that the RFC asks for has given a content that opens
// without a fault, what breaks in another way to decode the same octets is no file to anybody: a gzip in lines of 78
// characters is rubbish to a decoder that goes line by line, and a zip has its directory cut off by it. What a broken one
// holds is judged like all else.
func (w *walk) sound(r *root, above *origin, from int, result unpack.Result) unpack.Result {
	p := placeOf(r.object, above)
	switch {
	case r.object.Reading == "":
		if len(result.Unscannable)+len(result.Limits) == 0 {
			w.opened[p] = true
		}
	case w.opened[p] || r.object.Broken:
		broken := func(f unpack.Flag) bool { return f.Kind == unpack.Unscannable }
		if len(result.Unscannable) == 0 && !slices.ContainsFunc(w.found.Items[from:], func(i *Item) bool { return slices.ContainsFunc(i.Flags, broken) }) {
			break // it opens, too: what is odd about it then is somebody's to meet
		}
		result.Unscannable = nil
		for _, i := range w.found.Items[from:] {
			i.Flags = slices.DeleteFunc(slices.Clone(i.Flags), func(f unpack.Flag) bool { return broken(f) || f.Kind.OfForm() })
		}
	}
	return result
}

// sum takes over what the walk says of itself.
func (w *walk) sum(r *root, above *origin, result unpack.Result) {
	prefix := ""
	if above != nil {
		prefix = strings.Join(above.item.Path, "/") + "/"
	}
	w.found.Decoded += result.Decoded
	for _, l := range result.Limits {
		note(&w.found.Limits, prefix+first(r.names)+": "+l)
	}
	for _, u := range result.Unscannable {
		note(&w.found.Unscannable, prefix+u)
	}
	for _, e := range result.Encrypted {
		note(&w.found.Encrypted, prefix+e)
	}
}

// item makes an item of an object.
func (w *walk) item(r *root, o *unpack.Object, number int) *Item {
	i := &Item{
		Path: o.Path, Names: o.Names, Extensions: unpack.Extensions(o.Names), Opens: unpack.LastExtensions(o.Names), Types: o.Types,
		Size: o.Size, Hash: o.Hash, Flags: o.Flags, Object: r.object, Plain: r.object.Reading == "", root: r, ordinal: number,
	}
	if number == 0 {
		i.Declared = r.object.Types
	}
	fits := o.Size <= keepEach && w.kept+o.Size <= keepAll
	if fits && (number > 0 || r.inner != nil) {
		w.kept += o.Size
		i.kept = o
	}
	for _, f := range o.Flags {
		switch {
		case f.Kind != unpack.URI:
		case len(w.found.Links) < maxLinks:
			w.found.Links = append(w.found.Links, Link{f.Detail, i})
		default:
			w.found.MoreLinks = true
		}
	}
	w.found.Items = append(w.found.Items, i)
	w.seen[o.Hash] = append(w.seen[o.Hash], i)
	return i
}

// mail walks over the contents of a mail that lies in an attachment.
func (w *walk) mail(i *Item, content io.ReadCloser, depth int) {
	defer content.Close()
	if depth > maxMails {
		w.limit(i.Path, "depth")
		return
	}
	m, err := spooled(content)
	if err != nil {
		note(&w.found.Unscannable, i.Where()+": "+err.Error())
		return
	}
	v := mimeview.New(m, mimeview.Options{
		Decoded: max(w.limits.Total-w.found.Decoded, 1),
		Stop:    func() bool { return w.ctx.Err() != nil || time.Now().After(w.end) },
	})
	w.c.mu.Lock()
	w.c.nested = append(w.c.nested, v, m)
	w.c.mu.Unlock()
	above := &origin{i}
	for _, o := range v.Objects() {
		if err := w.object(o, above, depth); err != nil {
			note(&w.found.Unscannable, i.Where()+": "+err.Error())
		}
	}
	for _, l := range v.Limits() {
		w.limit(i.Path, l)
	}
}

// spooled makes a message of a mail in a file, whose lines may end in LF alone.
func spooled(r io.Reader) (*mail.Message, error) {
	all, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if !bytes.Contains(all, []byte("\r\n")) {
		all = bytes.ReplaceAll(all, []byte("\n"), []byte("\r\n"))
	}
	var s mail.Spool
	if _, err := s.Write(all); err != nil {
		return nil, err
	}
	return s.Finish()
}

// unreadEnvelope notes one that can't be read, unless the RFC's decoder gives one that was read, or one of which the same was
// said.
func (w *walk) unreadEnvelope(o *mimeview.Object, above *origin) {
	if o.Reading == "" || !w.opened[placeOf(o, above)] {
		note(&w.found.Unscannable, first(o.Names)+": an S/MIME envelope that can't be read")
	}
}

// envelope looks into what S/MIME wraps: RFC 8551 section 3.5. What is encrypted stays closed.
func (w *walk) envelope(o *mimeview.Object, above *origin, depth int) error {
	if !isCMS(o) || o.Size > maxCMS {
		return nil
	}
	content, err := o.Head(int(o.Size))
	if err != nil {
		return err
	}
	inner, what := openCMS(content)
	if what == cmsUnread {
		w.unreadEnvelope(o, above)
	}
	if what == cmsSealed || what == cmsUnread {
		return nil
	}
	if len(inner) == 0 || w.stopped(o.Names) { // a signature by itself: the text stands beside it
		return nil
	}
	at := len(w.found.Items)
	if _, err := w.unpack(&root{object: o, inner: inner, names: o.Names, o: w.options()}, above, false); err != nil {
		return err
	}
	w.mail(w.found.Items[at], io.NopCloser(bytes.NewReader(inner)), depth+1)
	return nil
}

func isCMS(o *mimeview.Object) bool {
	return slices.ContainsFunc(o.Types, func(t string) bool { return t == "application/pkcs7-mime" || t == "application/x-pkcs7-mime" }) ||
		slices.ContainsFunc(o.Names, func(n string) bool { return strings.HasSuffix(strings.ToLower(n), ".p7m") })
}
