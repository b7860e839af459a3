package web

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"postern/internal/mail"
	"postern/internal/mail/encodedword"
	"postern/internal/mimeview"
	"postern/policy/records/ledger"
	"postern/policy/records/quarantine"
	"postern/proxy/console/api"
)

// heldItem is a held message as the table shows it.
type heldItem struct {
	quarantine.Item
	From       string   `json:"from"`
	Recipients []string `json:"recipients"`
	Standings  []struct {
		Address string `json:"address"`
		State   string `json:"state"`
	} `json:"standings"`
}

// Author is the author as a mail program shows it.
func (h heldItem) Author() string {
	return ledger.Printable(cmp.Or(encodedword.Decode(h.HeaderFrom), h.From, "<>"))
}

// Title is the subject as a mail program shows it.
func (h heldItem) Title() string {
	return ledger.Printable(cmp.Or(encodedword.Decode(h.Subject), "(no subject)"))
}

// To are the recipients.
func (h heldItem) To() string {
	to := strings.Join(h.Recipients[:min(len(h.Recipients), 3)], ", ")
	if more := len(h.Recipients) - 3; more > 0 {
		to += fmt.Sprintf(", and %d more", more)
	}

	return to
}

// heldPage is what the template gets.
type heldPage struct {
	Query, Next, Campaign string
	Categories            []choice
	Rows                  []heldItem
	MayRelease, MayTeach  bool
}

const heldShown = "50"

func (v *visit) held() error {
	in := v.r.URL.Query()
	q := url.Values{"limit": {heldShown}}
	for _, name := range []string{"text", "category", "campaign", "after"} {
		if value := in.Get(name); value != "" {
			q.Set(name, value)
		}
	}
	var found struct {
		Messages []heldItem `json:"messages"`
		Next     string     `json:"next"`
	}
	if err := v.ask(http.MethodGet, "/quarantine?"+q.Encode(), nil, &found); err != nil {
		return err
	}
	p := heldPage{Query: in.Get("text"), Campaign: in.Get("campaign"), Rows: found.Messages, MayRelease: v.may(http.MethodPost, "/quarantine/{id}/release"), MayTeach: v.caller.Role == api.Admin}
	for _, one := range [][2]string{{"", "Waiting"}, {"spam", "Spam"}, {"virus", "Malware"}, {"attachment", "Attachments"}, {"policy", "Policy"}, {"rejected", "Refused, kept"}} {
		path := "/quarantine?" + url.Values{"text": {p.Query}, "category": {one[0]}}.Encode()
		p.Categories = append(p.Categories, choice{one[1], path, in.Get("category") == one[0]})
	}
	if found.Next != "" {
		q.Set("after", found.Next)
		p.Next = "/quarantine?" + q.Encode()
	}

	return v.show("held", "Quarantine", "Quarantine", p)
}

// maxSelected bounds how many messages one act is for.
const maxSelected = 200

// actOnHeld releases or deletes the messages that were selected. What fails is said, and does not keep the others from it.
func (v *visit) actOnHeld() error {
	if err := v.r.ParseForm(); err != nil {
		return api.BadRequest("the form can't be read")
	}
	ids := v.r.PostForm["id"]
	if len(ids) == 0 {
		return api.BadRequest("no message was selected")
	}
	if len(ids) > maxSelected {
		return api.BadRequest("%d messages at once are the limit", maxSelected)
	}
	what := map[string]string{"release": "released", "allow": "allowed", "delete": "deleted", "spam": "spam"}[v.r.PostForm.Get("act")]
	if what == "" {
		return api.BadRequest("there is no such act")
	}
	var failed error
	for _, id := range ids {
		if err := v.onHeld(v.r.PostForm.Get("act"), id); err != nil && failed == nil {
			failed = err
		}
	}
	if failed != nil {
		return failed
	}

	return v.back("/quarantine", what)
}

func (v *visit) onHeld(act, id string) error {
	path := "/quarantine/" + url.PathEscape(id)
	switch act {
	case "release", "allow":
		no := false
		return v.ask(http.MethodPost, path+"/release", map[string]any{"allow": act == "allow", "wait": no}, nil)
	case "spam":
		path += "?learn=true"
	}

	return v.ask(http.MethodDelete, path, nil, nil)
}

// heldOnePage is what the template gets.
type heldOnePage struct {
	Item                          heldItem
	Message                       string // the id of the transaction
	Reasons                       []reason
	MayRelease, MayTeach, MayRead bool
	Text                          string
	Links                         []shownLink
	Parts                         []shownPart
	Shown                         bool
}

// shownLink is a link with its target beside its text.
type shownLink struct{ Text, Target string }

// shownPart is a part of the message.
type shownPart struct {
	Type, Name string
	Size       int64
	Depth      int
}

func (v *visit) heldOne() error {
	p, err := v.itemPage()
	if err != nil {
		return err
	}

	return v.show("heldone", p.Item.Title(), "Quarantine", p)
}

func (v *visit) itemPage() (p heldOnePage, err error) {
	if err := v.ask(http.MethodGet, "/quarantine/"+url.PathEscape(v.r.PathValue("id")), nil, &p.Item); err != nil {
		return p, err
	}
	p.Message, _, _ = strings.Cut(p.Item.ID, "-")
	p.Reasons = reasons(p.Item.Reasons)
	p.MayRelease = v.may(http.MethodPost, "/quarantine/{id}/release")
	p.MayTeach = v.caller.Role == api.Admin
	p.MayRead = v.may(http.MethodGet, "/quarantine/{id}/raw") && api.Refusal(v.caller.Role, p.Item.Item) == ""

	return p, nil
}

// Bounds of what is shown of a held message.
const (
	maxShownText  = 100_000
	maxShownLinks = 100
	maxHeldRead   = 8 << 20
)

// heldText shows the words of a held message, its links and its parts: nothing of it is given to the browser but as text. That somebody
// read it stands in the audit log.
func (v *visit) heldText() error {
	p, err := v.itemPage()
	if err != nil {
		return err
	}
	var raw limited
	if err := v.ask(http.MethodGet, "/quarantine/"+url.PathEscape(p.Item.ID)+"/raw", nil, &raw); err != nil {
		return err
	}
	view := mimeview.New(mail.NewMessage(raw.Bytes()), mimeview.Options{})
	defer func() { _ = view.Close() }() // it has nothing but memory
	for _, part := range view.Shown() {
		p.Text += part.Text + "\n"
	}
	p.Text = p.Text[:min(len(p.Text), maxShownText)]
	p.Text = strings.ToValidUTF8(p.Text, "")
	for _, l := range view.Links()[:min(len(view.Links()), maxShownLinks)] {
		p.Links = append(p.Links, shownLink{l.Text, l.URL})
	}
	for _, part := range view.Parts() {
		if part.Reading == "" {
			p.Parts = append(p.Parts, shownPart{part.Type, part.Name, part.End - part.Start, part.Depth})
		}
	}
	p.Shown = true

	return v.show("heldone", p.Item.Title(), "Quarantine", p)
}

// limited keeps the first octets of what is written.
type limited struct{ bytes.Buffer }

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	if room := maxHeldRead - l.Len(); room > 0 {
		_, _ = l.Buffer.Write(p[:min(len(p), room)]) // a buffer's never fails
	}

	return len(p), nil
}

// campaignsPage is what the template gets.
type campaignsPage struct {
	Rows       []quarantine.Campaign
	MayRelease bool
}

func (v *visit) campaigns() error {
	p := campaignsPage{MayRelease: v.may(http.MethodPost, "/campaigns/{id}/release")}
	if err := v.ask(http.MethodGet, "/campaigns?limit=100", nil, &p.Rows); err != nil {
		return err
	}

	return v.show("campaigns", "Campaigns", "Campaigns", p)
}

func (v *visit) actOnCampaign() error {
	path := "/campaigns/" + url.PathEscape(v.r.PostFormValue("id"))
	if v.r.PostFormValue("act") == "release" {
		if err := v.ask(http.MethodPost, path+"/release", map[string]any{}, nil); err != nil {
			return err
		}
		return v.back("/campaigns", "released")
	}
	if err := v.ask(http.MethodDelete, path, nil, nil); err != nil {
		return err
	}

	return v.back("/campaigns", "deleted")
}
