// Package digest tells users by mail what is held for them, in their language, with links that release it. A link is
// signed, expires, and opens a page that asks: programs that follow links change nothing.
package digest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jhillyerd/enmime/v2"

	"postern/internal/mail"
	"postern/policy/records/quarantine"
)

// Options of a Builder.
type Options struct {
	// Site is where the links lead: "https://quarantine.example.com". It is never taken from a request.
	Site string
	// From is the sender of the digests, FromName its display name.
	From     mail.Address
	FromName string
	Signer   *Signer
	// Life is for how long links hold: 14 days if it is 0.
	Life time.Duration
	// Max is how many messages are listed: 100 if it is 0.
	Max int
	// Releasable are the categories that users may release: spam and policy if there are none.
	Releasable []quarantine.Category
	// Zone is that of the times shown: UTC if it is nil.
	Zone *time.Location
}

// Digest is one person's digest of one mailbox.
type Digest struct {
	// To gets it; Mailbox is whose mail is held. They are the same but for deputies.
	To, Mailbox mail.Address
	// Language is "en", "de", "fr" or "es", with or without a region; another one is English.
	Language string
	Time     time.Time
	// Slot is what makes it the same digest when it is built again.
	Slot time.Time
	// Items are the newest first; Total counts those that are not among them, too.
	Items []quarantine.Item
	Total int
}

// Builder writes digests.
type Builder struct {
	opt   Options
	texts map[string]texts
	page  *template.Template
}

// NewBuilder makes a Builder.
func NewBuilder(o Options) (*Builder, error) {
	site, err := url.Parse(o.Site)
	if err != nil || site.Host == "" || site.Scheme != "https" && site.Scheme != "http" || site.RawQuery != "" || site.Fragment != "" || site.User != nil {
		return nil, fmt.Errorf("digest: %.100q is no site; write it as in \"https://quarantine.example.com\"", o.Site)
	}
	if o.Signer == nil || o.From.IsNull() {
		return nil, errors.New("digest: it needs a signer, and an address that it is from")
	}
	o.Site = strings.TrimSuffix(o.Site, "/")
	o.Life, o.Max = cmp.Or(o.Life, 14*24*time.Hour), cmp.Or(o.Max, 100)
	if len(o.Releasable) == 0 {
		o.Releasable = []quarantine.Category{quarantine.Spam, quarantine.Policy}
	}
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	b := &Builder{opt: o}
	if b.texts, err = loadTexts(); err != nil {
		return nil, fmt.Errorf("digest: %w", err)
	}
	if b.page, err = loadPage(); err != nil {
		return nil, fmt.Errorf("digest: %w", err)
	}
	return b, nil
}

// view is what the page shows.
type view struct {
	Language, Subject string
	T                 words
	Items             []itemView
	List              link
}

type words struct{ Greeting, Deputy, Hint, From, SubjectLabel, Received, Why, More, Footer string }

type itemView struct {
	From, Subject, Received, Why string
	Links                        []link
}

type link struct{ Text, URL string }

// ID is the digest's name in Message-ID and queue: the same for the same person, mailbox and slot.
func (d Digest) ID() string {
	sum := sha256.Sum256([]byte(d.To.Key() + "\x00" + d.Mailbox.Key() + "\x00" + d.Slot.UTC().Format(time.RFC3339)))
	return "digest-" + hex.EncodeToString(sum[:10])
}

// Build writes the message, lines ended by CRLF. Without an item there is none to write, which is an error.
func (b *Builder) Build(d Digest) ([]byte, error) {
	if len(d.Items) == 0 {
		return nil, errors.New("digest: nothing is held")
	}
	v, err := b.view(d)
	if err != nil {
		return nil, err
	}
	var page bytes.Buffer
	if err := b.page.Execute(&page, v); err != nil {
		return nil, fmt.Errorf("digest: %w", err)
	}
	sum := sha256.Sum256(page.Bytes()) // it has the tokens, so that no stranger can guess the boundary
	// RFC 3834 section 5: prevents vacation replies
	part, err := enmime.Builder().From(b.opt.FromName, b.opt.From.String()).To("", d.To.String()).Subject(v.Subject).Date(d.Time.In(b.opt.Zone)).
		Header("Message-ID", "<"+d.ID()+"@"+b.opt.From.ASCIIDomain()+">").Header("Auto-Submitted", "auto-generated").Header("Precedence", "bulk").
		Header("Content-Language", v.Language).RandSeed(int64(binary.BigEndian.Uint64(sum[:8]))).Text([]byte(v.text())).HTML(page.Bytes()).Build()
	if err != nil {
		return nil, fmt.Errorf("digest: %w", err)
	}
	var message bytes.Buffer
	if err := part.Encode(&message); err != nil {
		return nil, fmt.Errorf("digest: %w", err)
	}
	return crlf(message.Bytes()), nil
}

// crlf ends every line as mail wants it, whatever the builder thought.
func crlf(text []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}

func (b *Builder) language(name string) (string, texts) {
	name, _, _ = strings.Cut(strings.ToLower(strings.ReplaceAll(name, "_", "-")), "-")
	if t, ok := b.texts[name]; ok {
		return name, t
	}
	return "en", b.texts["en"]
}

func (b *Builder) view(d Digest) (*view, error) {
	language, t := b.language(d.Language)
	items := d.Items[:min(len(d.Items), b.opt.Max)]
	total := max(d.Total, len(d.Items))
	mailbox := shown(d.Mailbox.String())
	until := d.Time.Add(b.opt.Life)
	v := &view{Language: language, Subject: t.count("subject", total, "mailbox", mailbox), T: words{
		Greeting: t.with("greeting", "mailbox", mailbox), Hint: t["hint"], From: t["from"], SubjectLabel: t["subject"], Received: t["received"], Why: t["why"],
		Footer: t.with("footer", "user", shown(d.To.String()), "until", until.In(b.opt.Zone).Format(t["date"])),
	}}
	if d.To.Key() != d.Mailbox.Key() {
		v.T.Deputy = t.with("deputy", "mailbox", mailbox)
	}
	if more := total - len(items); more > 0 {
		v.T.More = t.count("more", more)
	}
	sign := func(a Action, item, text string) (link, error) {
		token, err := b.opt.Signer.Sign(Claim{Action: a, User: d.To, Mailbox: d.Mailbox, Item: item, Expires: until})
		return link{text, b.opt.Site + "/q/" + token}, err
	}
	for _, item := range items {
		one := itemView{
			From: cmp.Or(shown(item.HeaderFrom), shown(item.From.String()), t["no.sender"]), Subject: cmp.Or(shown(item.Subject), t["no.subject"]),
			Received: item.Time.In(b.opt.Zone).Format(t["date"]), Why: cmp.Or(t["category."+string(item.Category)], t["category.policy"]),
		}
		for _, a := range b.actions(item) {
			l, err := sign(a, item.ID, t[strings.ReplaceAll(a.String(), " ", "_")])
			if err != nil {
				return nil, err
			}
			one.Links = append(one.Links, l)
		}
		v.Items = append(v.Items, one)
	}
	var err error
	v.List, err = sign(List, "", t["list"])
	return v, err
}

// actions are those that a user may take. Allowing or blocking needs a known sender.
func (b *Builder) actions(item quarantine.Item) []Action {
	var all []Action
	known := !item.From.IsNull() || item.HeaderFrom != ""
	if slices.Contains(b.opt.Releasable, item.Category) {
		all = append(all, Release)
		if known {
			all = append(all, ReleaseAndAllow)
		}
	}
	all = append(all, Delete)
	if known {
		all = append(all, Block)
	}
	return all
}

// text is the same for readers without HTML.
func (v *view) text() string {
	var b strings.Builder
	line := func(parts ...string) { b.WriteString(strings.Join(parts, "") + "\r\n") }
	line(v.T.Greeting)
	if v.T.Deputy != "" {
		line(v.T.Deputy)
	}
	line()
	line(v.T.Hint)
	for _, i := range v.Items {
		line()
		line(v.T.From, ": ", i.From)
		line(v.T.SubjectLabel, ": ", i.Subject)
		line(v.T.Received, ": ", i.Received)
		line(v.T.Why, ": ", i.Why)
		for _, l := range i.Links {
			line("  ", l.Text, ":")
			line("  ", l.URL)
		}
	}
	line()
	if v.T.More != "" {
		line(v.T.More)
	}
	line(v.List.Text, ":")
	line(v.List.URL)
	line()
	line(v.T.Footer)
	return b.String()
}
