// Package api is the table of all that admins, their programs and users can do: each verb with its roles, its arguments
// and its record in the audit log. The JSON interface, the console and the command line are three faces of it. It
// depends on the gateway through its options only.
package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/policy/records/ledger"
	"postern/policy/records/lessons"
	"postern/policy/records/lists"
	"postern/policy/records/quarantine"
	"postern/policy/records/recall"
	"postern/policy/records/tally"
	"postern/policy/replay"
	"postern/proxy/digests"
	"postern/proxy/release"
)

// Guard refuses clients that guess tokens, as at all doors.
type Guard interface {
	Admit(ctx context.Context, client netip.Addr, user string) bool
	Passed(ctx context.Context, client netip.Addr, user string)
	Failed(ctx context.Context, client netip.Addr, user, password string)
}

// Options are what the interface works on.
type Options struct {
	Store  *Store
	Ledger *ledger.Ledger
	// Uncertain lists what the classifier was least sure about; nil if it is off.
	Uncertain func(ctx context.Context, limit int) (any, error)
	// Tally counts what happens to mail; nil where no gateway runs.
	Tally       *tally.Tally
	Recalls     *recall.List
	AdminTables func() map[string]filters.AdminTable
	// Troubles are the current troubles; Queue is the mail that waits for a next hop.
	Troubles func() any
	Queue    Queue
	// Quarantine is the held mail; Release releases one of its messages.
	Quarantine *quarantine.Quarantine
	Release    func(context.Context, release.Order) (release.Released, error)
	// LearnSpam learns that a held message is spam.
	LearnSpam func(context.Context, release.Order) bool
	// Lists are looked at by themselves: what changes in them holds within seconds.
	Lists    *lists.Store
	Policies Policies
	Lessons  *lessons.Journal // nil if learning is off
	// Classifier is nil if its filter is off.
	Classifier   Classifier
	AppPasswords AppPasswords
	// SendDigests sends digests of held mail now: user "" is all users. A dry run sends nothing.
	SendDigests func(ctx context.Context, user string, try bool) ([]digests.Report, error)
	// Sweep moves recalled messages out of a user's mailboxes.
	Sweep func(context.Context, SweepOrder) (sweep any, err error)
	// Reload reads the configuration again.
	Reload func() error
	// Written waits until all records of the ledger that are known are written.
	Written func(context.Context) error
	Guard   Guard
	Now     func() time.Time
	Log     *slog.Logger
}

// Queue is the mail that waits.
type Queue interface {
	// All is a list that can be written as JSON.
	All() (any, error)
	Retry(id, by string) error
	Delete(id, by string) error
}

// API serves /api/v1/.
type API struct {
	o     Options
	verbs []Verb
	mux   *http.ServeMux
}

// New makes the interface.
func New(o Options) *API {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &API{o: o, mux: http.NewServeMux()}
	a.verbs = Verbs()
	for _, v := range a.verbs {
		a.mux.HandleFunc(v.Method+" "+prefix+v.Path, func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, v) })
	}
	a.mux.HandleFunc("GET "+prefix+"/openapi.json", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, OpenAPI(a.verbs)) })
	a.mux.HandleFunc(prefix+"/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, NotFound("there is no such resource")) })
	return a
}

// prefix begins all paths.
const prefix = "/api/v1"

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	a.mux.ServeHTTP(w, r)
}

// Verb is one thing that can be done: a row of the table of verbs and roles.
type Verb struct {
	Method, Path, Help string
	// Name is the command that does it, and its name in the audit log. Verbs that change nothing need none.
	Name string
	// Roles may do it; what they see of it is bounded by their scope.
	Roles []Role
	// Query are the parameters of the query, Body those of a JSON object.
	Query, Body []param
	// Looks says of a verb that it changes nothing although its method is not GET, Noted of one that is written down although it is.
	Looks, Noted bool
	do           func(*call) (any, error)
}

// Acts reports whether each use of the verb is recorded.
func (v Verb) Acts() bool { return v.Noted || v.Method != http.MethodGet && !v.Looks }

// param is one parameter.
type param struct{ Name, Type, Help string }

// call is one request on its way.
type call struct {
	*API
	ctx    context.Context
	r      *http.Request
	w      http.ResponseWriter
	caller Caller
	// what is the object of the act, for the audit log.
	what string
	// silent says that the answer is written already, begun that a part of it is, tried that nothing was changed.
	silent, begun, tried bool
}

// problem is an error shown to the caller, in the form of RFC 9457.
type Problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail,omitempty"`
	// Version is that of a policy which is written although it is not in force yet.
	Version string `json:"version,omitempty"`
}

func (p Problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Title + ": " + p.Detail
}

// ErrNotNow says that it is refused as things are; wrapped in a sentence that says why.
var ErrNotNow = errors.New("not now")

// notYours is the only answer about missing items to callers who do not see everything.
const notYours = "there is no such thing, or it is not yours"

// ErrNotFound is a Queue's error for an unknown id.
var ErrNotFound = NotFound(notYours)

// BadRequest describes what is wrong with a request.
func BadRequest(format string, args ...any) error {
	return Problem{Status: http.StatusBadRequest, Title: "bad request", Detail: fmt.Sprintf(format, args...)}
}

// NotFound is the problem of a missing item.
func NotFound(detail string) error {
	return Problem{Status: http.StatusNotFound, Title: "not found", Detail: detail}
}

func forbidden(detail string) error {
	return Problem{Status: http.StatusForbidden, Title: "forbidden", Detail: detail}
}

// serve handles one request: authenticate, authorize, perform, record, answer.
func (a *API) serve(w http.ResponseWriter, r *http.Request, v Verb) {
	caller, err := a.authenticate(r)
	if err != nil {
		w.Header().Set("WWW-Authenticate", "Bearer")
		refuse(w, err)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, caller.maxBody())
	c := &call{API: a, ctx: r.Context(), r: r, w: w, caller: caller, what: r.PathValue("id")}
	result, err := any(nil), error(nil)
	if !caller.Role.in(v.Roles) {
		err = forbidden("the role " + string(caller.Role) + " may not do this")
	} else {
		result, err = v.do(c)
	}
	if v.Acts() && !c.tried {
		a.o.Store.note(r.Context(), Act{Time: a.o.Now(), Who: caller.Name, Role: caller.Role, From: caller.From, Client: c.client(), Verb: v.Method + " " + v.Path, What: c.what, Outcome: outcome(err)})
	}
	switch {
	case err != nil && c.begun: // the client went away, or hears of it by the length
		a.o.Log.Warn("api", "error", err)
	case err != nil:
		a.fail(w, err, caller)
	case c.silent:
	case result == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		answer(w, http.StatusOK, result)
	}
}

// client is the caller's address, for the audit log.
func (c *call) client() string {
	if c.caller.From == CLI {
		return "command line"
	}
	return clientOf(c.r).String()
}

// maxBody bounds what a caller may send, in octets. On the command line a file of ours is longer in JSON than it was.
func (c Caller) maxBody() int64 {
	if c.From == CLI {
		return 64 << 20
	}
	return 16 << 20
}

// outcome is the result of an act, for the audit log.
func outcome(err error) string {
	if err == nil {
		return "done"
	}
	if p, ok := told(err); ok {
		return p.Title
	}
	return "failed"
}

// fail answers an error. Internal errors are shown in the log only, and to callers who can read the log. A missing item
// is named only to callers who would see it if it existed.
func (a *API) fail(w http.ResponseWriter, err error, to Caller) {
	p, ok := told(err)
	switch {
	case !ok:
		a.o.Log.Error("api", "error", err)
		p = Problem{Status: http.StatusInternalServerError, Title: "internal error", Detail: "the log has the cause"}
		if to.From == CLI {
			p.Detail = err.Error()
		}
	case p.Status == http.StatusNotFound && !to.all() && isMissing(err):
		p.Detail = notYours
	}
	refuse(w, p)
}

// isMissing says whether an error of what the table works on is that something isn't there.
func isMissing(err error) bool {
	for _, missing := range []error{ledger.ErrUnknown, recall.ErrUnknown, filters.ErrNoRow, filters.ErrUnknownVerb, quarantine.ErrUnknown, lists.ErrUnknown, lessons.ErrUnknown, replay.ErrNoVersion} {
		if errors.Is(err, missing) {
			return true
		}
	}
	return false
}

// isWrong says whether an error is that something else must be asked for.
func isWrong(err error) bool {
	if _, ok := errors.AsType[config.Problems](err); ok {
		return true
	}
	for _, wrong := range []error{ledger.ErrQuery, ledger.ErrAmbiguous, recall.ErrHash, recall.ErrNothing, lists.ErrInvalid, lists.ErrCursor, quarantine.ErrCursor, quarantine.ErrRecipients,
		release.ErrNoWayOut, release.ErrNoSender, digests.ErrOff, digests.ErrUser} {
		if errors.Is(err, wrong) {
			return true
		}
	}
	return false
}

// isTooLate reports whether an error is a conflict with the item's present state.
func isTooLate(err error) bool {
	for _, late := range []error{quarantine.ErrTaken, quarantine.ErrDeleted, lists.ErrFull, ErrNotNow} {
		if errors.Is(err, late) {
			return true
		}
	}
	return false
}

// told gives the problem for an error that the caller may see.
func told(err error) (Problem, bool) {
	if p, ok := errors.AsType[Problem](err); ok {
		return p, true
	}
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return Problem{Status: http.StatusRequestEntityTooLarge, Title: "too large", Detail: fmt.Sprintf("the body has more than %d MiB", large.Limit>>20)}, true
	}
	switch {
	case isMissing(err):
		return Problem{Status: http.StatusNotFound, Title: "not found", Detail: err.Error()}, true
	case isWrong(err):
		return Problem{Status: http.StatusBadRequest, Title: "bad request", Detail: err.Error()}, true
	case isTooLate(err):
		return Problem{Status: http.StatusConflict, Title: "conflict", Detail: err.Error()}, true
	case errors.Is(err, ledger.ErrAway):
		return Problem{Status: http.StatusServiceUnavailable, Title: "database away", Detail: "try again later"}, true
	}
	return Problem{}, false
}

func refuse(w http.ResponseWriter, err error) {
	p := Problem{Status: http.StatusInternalServerError, Title: "internal error"}
	_ = errors.As(err, &p) // else it is that
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // a client that went away
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that went away; < > & are escaped, as it may be shown in a page
}

// read decodes the JSON object of a request, which must be just that.
func (c *call) read(into any) error {
	d := json.NewDecoder(c.r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return err
		}
		return BadRequest("the body is not the JSON object that is wanted: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return BadRequest("there is something behind the JSON object")
	}
	return nil
}

func clientOf(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	a, _ := netip.ParseAddr(host) // a socket has none
	return a.Unmap()
}

// authenticate identifies the caller.
//
// RFC 6750 section 2.1: the token comes in the Authorization field, nowhere else; a page in a browser can't send it.
func (a *API) authenticate(r *http.Request) (Caller, error) {
	if c, ok := r.Context().Value(callerKey{}).(Caller); ok { // the socket of the machine's own admin
		return c, nil
	}
	word, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	unauthorized := Problem{Status: http.StatusUnauthorized, Title: "unauthorized", Detail: "send a token: Authorization: Bearer TOKEN; postern token add makes one"}
	if !strings.EqualFold(word, "Bearer") || token == "" {
		return Caller{}, unauthorized
	}
	client := clientOf(r)
	id := tokenID(token)
	if a.o.Guard != nil && !a.o.Guard.Admit(r.Context(), client, "api "+id) {
		return Caller{}, unauthorized
	}
	caller, err := a.o.Store.Open(r.Context(), token, a.o.Now())
	if errors.Is(err, ErrToken) {
		if a.o.Guard != nil {
			a.o.Guard.Failed(r.Context(), client, "api "+id, token)
		}
		return Caller{}, unauthorized
	}
	if err == nil && a.o.Guard != nil {
		a.o.Guard.Passed(r.Context(), client, "api "+id)
	}
	caller.From = Network
	return caller, err
}

// callerKey marks a caller in a request's context.
type callerKey struct{}

// As serves requests in the name of one caller: a user of the console, or the command line where no gateway runs.
func (a *API) As(c Caller) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	})
}

// LoginField carries the login name of the command line's user. Only the control socket trusts it.
const LoginField = "Postern-Login"

// Local serves requests of the machine's own admin, for a socket that no other user can open.
func (a *API) Local() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.As(Operator(r.Header.Get(LoginField))).ServeHTTP(w, r)
	})
}

// Operator is the caller at the command line, by the name of the login.
func Operator(login string) Caller {
	return Caller{Name: cmp.Or(cut(filters.Printable(login)), "admin"), Role: Admin, From: CLI}
}
