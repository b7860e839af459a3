// Package unpack says what an attachment really is and what is in it: archives, documents, disk images, to any depth
// within limits. It is a function of bytes: no network, no files, and no name from inside an archive is ever used as one.
//
// All it finds are facts. Whether a macro or an encrypted archive is welcome is for policy to say. What it could not
// look into is always named, so that nothing unread can pass for clean.
package unpack

import (
	"bytes"
	"context"
	"io"
	"time"

	"postern/internal/mimeview/unpack/filetype"
)

// Type is one type that a content has.
type Type = filetype.Type

// Limits bound one Walk. Zero fields take the default.
type Limits struct {
	Depth   int           // levels of containers below the attachment, default 6
	Entries int           // objects reported in all, default 2,000
	Total   int64         // octets decoded in all, default 200 MiB
	Entry   int64         // octets of one object, default 64 MiB
	Ratio   int           // decoded octets per packed octet, asked above 1 MiB, default 200
	Time    time.Duration // wall clock, default 20 s
}

func (l Limits) orDefault() Limits {
	set := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	depth, entries, ratio, wait := int64(l.Depth), int64(l.Entries), int64(l.Ratio), int64(l.Time)
	set(&depth, 6)
	set(&entries, 2000)
	set(&ratio, 200)
	set(&wait, int64(20*time.Second))
	set(&l.Total, 200<<20)
	set(&l.Entry, 64<<20)
	l.Depth, l.Entries, l.Ratio, l.Time = int(depth), int(entries), int(ratio), time.Duration(wait)
	return l
}

// Options say how far to go.
type Options struct {
	Limits
	Passwords []string         // tried on encrypted zip, 7z and rar; the first 20 count
	Now       func() time.Time // default time.Now
}

// Object is the attachment or one thing inside it. All texts are an attacker's: escape them before they are shown.
type Object struct {
	Path  []string // how we got here, the attachment's name first
	Names []string // all candidate names: for a zip entry those of its local header and of each directory
	Types []Type   // every type that the content can be, the most likely first
	Size  int64    // octets read; with the flag LimitHit there are more
	Hash  [32]byte // SHA-256 of these octets
	Flags []Flag
	Head  []byte // the first 512 octets or fewer; not to be changed

	content []byte
}

// Open gives the content again. It needs no second decoding and stays valid as long as the Object is held.
func (o *Object) Open() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(o.content)), nil
}

// Has says whether the object carries a flag of this kind.
func (o *Object) Has(k Kind) bool {
	for i := range o.Flags {
		if o.Flags[i].Kind == k {
			return true
		}
	}
	return false
}

// flag notes a fact once; floods of different details end at 200 for each object.
func (o *Object) flag(k Kind, detail string) {
	if len(detail) > maxDetail {
		detail = detail[:maxDetail]
	}
	f := Flag{k, detail}
	for i := range o.Flags {
		if o.Flags[i] == f {
			return
		}
	}
	if len(o.Flags) < maxFlags || !o.Has(k) {
		o.Flags = append(o.Flags, f)
	}
}

const (
	maxFlags  = 200
	maxDetail = 2048
	headBytes = 512
)

// is says whether one of the object's types has this media type.
func (o *Object) is(names ...string) bool {
	for _, t := range o.Types {
		for _, n := range names {
			if t.Name == n {
				return true
			}
		}
	}
	return false
}

func (o *Object) isClass(classes ...filetype.Class) bool {
	for _, t := range o.Types {
		for _, c := range classes {
			if t.Class == c {
				return true
			}
		}
	}
	return false
}

// Result says how far the walk came. Limits and Unscannable empty means that everything was looked at.
type Result struct {
	Limits      []string // the limits that were hit: depth, entries, total, entry, ratio, time
	Unscannable []string // "path: why" of what could not be read, or not to its end
	Encrypted   []string // paths of what no password opened
	Objects     int
	Decoded     int64 // octets
}

// Walk reports the object itself first, then everything inside it, depth first, in the order of the container.
// names are all names that the attachment has in its mail. What turns out only while the inside is read (a truncated
// archive, a limit) stands in the Result, since the container has been reported by then.
func Walk(ctx context.Context, names []string, content io.ReaderAt, size int64, o Options, report func(*Object)) Result {
	o.Limits = o.orDefault()
	if o.Now == nil {
		o.Now = time.Now
	}
	if len(o.Passwords) > maxPasswords {
		o.Passwords = o.Passwords[:maxPasswords]
	}
	w := &walk{ctx: ctx, o: o, end: o.Now().Add(o.Time), report: report}
	n := w.root(names, content, size)
	w.visit(n)
	return w.result
}

const maxPasswords = 20
