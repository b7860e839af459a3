package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/policy/records/lessons"
	"postern/policy/replay"
)

// Policies manages the policy's versions and trials, as the command line does. Errors that the caller may see are those
// of configurations, and replay.ErrNoVersion.
type Policies struct {
	Current  func() (version, text string, err error)
	Plan     func(ctx context.Context, text string, since time.Time, flips int) (replay.Report, error)
	Apply    func(ctx context.Context, by, text, note string) (version string, err error)
	Rollback func(ctx context.Context, by, to string) (version string, err error)
	Versions *replay.Versions
	// Try begins a trial; a share of 0 only watches. Trial reports on the current one, nil without one.
	Try   func(ctx context.Context, by, text string, share int) (version string, err error)
	Trial func(ctx context.Context) (*TrialReport, error)
	End   func(ctx context.Context) error
}

// TrialReport is a trial and its results so far.
type TrialReport struct {
	replay.Trial
	Version string        `json:"version"`
	Report  replay.Report `json:"report"`
}

// AppPassword is what is known of a password for one device.
type AppPassword struct {
	User      string          `json:"user"`
	Name      string          `json:"name"`
	Protocols []mail.Protocol `json:"protocols,omitempty"`
	Created   time.Time       `json:"created"`
}

// AppPasswords are the passwords for single devices.
type AppPasswords interface {
	List(user string) ([]AppPassword, error)
	// Add makes one; real is the user's own password if it is to be kept sealed, else "".
	Add(user, name, real string, protocols []mail.Protocol) (password string, err error)
	Remove(user, name string) error
}

type policyText struct {
	Version string `json:"version"`
	Text    string `json:"text,omitempty"`
}

func (c *call) policy() (any, error) {
	version, text, err := c.o.Policies.Current()
	return policyText{version, text}, err
}

func (c *call) planPolicy() (any, error) {
	var body struct {
		Text  string    `json:"text"`
		Since time.Time `json:"since"`
		Limit int       `json:"limit"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	if body.Text == "" {
		return nil, BadRequest("text: the draft is missing")
	}
	if body.Since.IsZero() {
		body.Since = c.o.Now().AddDate(0, 0, -30)
	}
	if body.Limit < 1 || body.Limit > maxRows {
		body.Limit = 50
	}
	c.takeTime()
	return c.o.Policies.Plan(c.ctx, body.Text, body.Since, body.Limit)
}

func (c *call) applyPolicy() (any, error) {
	var body struct {
		Text string `json:"text"`
		Note string `json:"note"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	if body.Text == "" {
		return nil, BadRequest("text: the policy is missing")
	}
	version, err := c.o.Policies.Apply(c.ctx, c.who(), body.Text, body.Note)
	c.what = strings.TrimSpace(version + " " + body.Note)
	return policyText{Version: version}, notTold(err, version)
}

func (c *call) rollbackPolicy() (any, error) {
	var body struct {
		To string `json:"to"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	version, err := c.o.Policies.Rollback(c.ctx, c.who(), body.To)
	c.what = version
	return policyText{Version: version}, notTold(err, version)
}

func (c *call) policyVersions() (any, error) {
	all, err := c.o.Policies.Versions.List(c.ctx, 1000)
	if all == nil {
		all = []replay.Version{}
	}
	return all, err
}

func (c *call) policyVersion() (any, error) {
	v, err := c.o.Policies.Versions.Get(c.ctx, c.r.PathValue("id"))
	return struct {
		replay.Version
		Text string `json:"text"`
	}{v, v.Text}, err
}

func (c *call) tryPolicy() (any, error) {
	var body struct {
		Text  string `json:"text"`
		Share int    `json:"share"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	if body.Text == "" || body.Share < 0 || body.Share > 100 {
		return nil, BadRequest("write text, and a share from 0 (only watched) to 100 percent")
	}
	version, err := c.o.Policies.Try(c.ctx, c.who(), body.Text, body.Share)
	c.what = version + " only watched"
	if body.Share > 0 {
		c.what = fmt.Sprintf("%s %d of 100", version, body.Share)
	}
	return policyText{Version: version}, notTold(err, version)
}

// longest is how long an answer may take that judges the mail of weeks.
const longest = 15 * time.Minute

// takeTime lets the answer come later than others must.
func (c *call) takeTime() {
	w, end := http.NewResponseController(c.w), time.Now().Add(longest)
	_ = w.SetReadDeadline(end) // or the request would end with the time for reading it; where it can't be set the server's own holds
	_ = w.SetWriteDeadline(end)
}

func (c *call) policyTrial() (any, error) {
	c.takeTime()
	t, err := c.o.Policies.Trial(c.ctx)
	if err == nil && t == nil {
		err = NotFound("no policy is being tried")
	}
	return t, err
}

func (c *call) endTrial() (any, error) {
	c.what = "off"
	return nil, notTold(c.o.Policies.End(c.ctx), "the policy in force")
}

// ErrNotTold means that a policy is written, but the running gateway was not reloaded.
var ErrNotTold = fmt.Errorf("%w: the gateway was not told; it holds from its next start or SIGHUP on", ErrNotNow)

// notTold makes a problem of ErrNotTold that says what is done all the same.
func notTold(err error, version string) error {
	if !errors.Is(err, ErrNotTold) {
		return err
	}
	return Problem{Status: http.StatusConflict, Title: "done, the gateway was not told", Detail: err.Error(), Version: version}
}

func (c *call) reload() (any, error) {
	if err := c.o.Reload(); err != nil {
		return nil, Problem{Status: http.StatusConflict, Title: "the old settings stay in force", Detail: err.Error()}
	}
	return nil, nil
}

func (c *call) lessons() (any, error) {
	f := lessons.Filter{User: c.r.URL.Query().Get("user")}
	if err := c.times(&f.Since, nil); err != nil {
		return nil, err
	}
	if err := c.limit(&f.Limit, maxRows); err != nil {
		return nil, err
	}
	if c.o.Lessons == nil {
		return []lessons.Lesson{}, nil
	}
	all, err := c.o.Lessons.List(c.ctx, f)
	if all == nil {
		all = []lessons.Lesson{}
	}
	return all, err
}

func (c *call) lessonStatus() (any, error) {
	if c.o.Lessons == nil {
		return lessons.Status{}, nil
	}
	return c.o.Lessons.Status(c.ctx)
}

func (c *call) undoLesson() (any, error) {
	id, err := strconv.ParseInt(c.r.PathValue("id"), 10, 64)
	if err != nil || c.o.Lessons == nil {
		return nil, lessons.ErrUnknown
	}
	l, err := c.o.Lessons.Undo(c.ctx, id, c.who())
	if err != nil || c.o.Classifier == nil {
		return nil, err
	}
	_, err = c.o.Classifier.Change(c.ctx, Forget{IDs: []string{l.SHA256}, By: l.User}, c.who())

	return nil, err
}

// ownLogin limits a user to their own logins, which are their addresses.
func (c *call) ownLogin(user string) error {
	if c.caller.Role == User && !c.caller.owns(user) {
		return NotFound(notYours)
	}
	return nil
}

func (c *call) appPasswords() (any, error) {
	user := c.r.URL.Query().Get("user")
	if c.caller.Role == User && user == "" {
		user = c.who()
	}
	if err := c.ownLogin(user); err != nil {
		return nil, err
	}
	all, err := c.o.AppPasswords.List(user)
	told := []AppPassword{}
	for _, one := range all {
		told = append(told, sees(c.caller, recordPassword, one))
	}
	return told, err
}

func (c *call) addAppPassword() (any, error) {
	var body struct {
		User      string          `json:"user"`
		Name      string          `json:"name"`
		Protocols []mail.Protocol `json:"protocols"`
		Real      string          `json:"real"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	c.what = strings.TrimSpace(body.User + " " + body.Name)
	if body.User == "" || body.Name == "" {
		return nil, BadRequest("user and name are wanted: the login, and a name for the device")
	}
	if err := c.ownLogin(body.User); err != nil {
		return nil, err
	}
	for _, p := range body.Protocols {
		if p != mail.ProtocolIMAP && p != mail.ProtocolPOP3 {
			return nil, BadRequest("protocols: write imap or pop3")
		}
	}
	password, err := c.o.AppPasswords.Add(body.User, body.Name, body.Real, body.Protocols)
	return struct {
		Password string `json:"password"`
	}{password}, err
}

func (c *call) removeAppPassword() (any, error) {
	user, name := c.r.URL.Query().Get("user"), c.r.URL.Query().Get("name")
	c.what = strings.TrimSpace(user + " " + name)
	if user == "" {
		return nil, BadRequest("user is wanted; without a name all of the user's are taken away")
	}
	if err := c.ownLogin(user); err != nil {
		return nil, err
	}
	return nil, c.o.AppPasswords.Remove(user, name)
}
