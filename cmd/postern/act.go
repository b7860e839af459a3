package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os/user"
	"strings"
	"syscall"
	"time"

	"postern/cmd/postern/app"
	"postern/internal/config"
	"postern/policy/records/ledger"
	"postern/proxy/console"
	"postern/proxy/console/api"
)

// act performs one verb of the table: in the running gateway, or where none runs in this process, over the same stores.
// path is the table's, body its arguments; the answer is decoded into a pointer, or written to an io.Writer.
func act(w world, f where, method, path string, body, answer any) (err error) {
	p, err := openPlane(w, f, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	return p.act(method, path, body, answer)
}

// plane is the way to the table of verbs. What it opened where no gateway runs serves one act after the other.
type plane struct {
	w       world
	cfg     *config.Config
	gateway http.RoundTripper
	offline map[string]*app.Offline // by the path's first word
}

// openPlane finds the way, for verbs below a path.
func openPlane(w world, f where, path string) (*plane, error) {
	cfg, err := f.read()
	if err != nil {
		return nil, err
	}
	if err := enter(cfg.DataDir, cfg.DataDir); err != nil {
		if missing, ok := errors.AsType[notYet](err); ok && needsGateway(path) {
			return nil, fmt.Errorf("%w (%s is not there)", errNoGateway, missing.path)
		}
		return nil, err
	}
	return &plane{w, cfg, socket(cfg), map[string]*app.Offline{}}, nil
}

func (p *plane) close() (err error) {
	for _, one := range p.offline {
		err = errors.Join(err, one.Close())
	}
	return err
}

// longestAct is longer than the gateway itself takes for any act.
const longestAct = 20 * time.Minute

// errNoGateway means that the state of a running gateway is needed and none runs.
var errNoGateway = errors.New("no gateway is running with this configuration")

func (p *plane) act(method, path string, body, answer any) error {
	ctx, cancel := context.WithTimeout(p.w.ctx, longestAct)
	defer cancel()
	family := strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '?' })[0]
	if p.offline[family] == nil {
		err := api.Ask(ctx, p.gateway, method, path, body, answer)
		var refused *net.OpError
		switch {
		case !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist):
			if errors.As(err, &refused) && errors.Is(err, fs.ErrPermission) {
				err = fmt.Errorf("only root and the gateway's own user may ask it: %w", err)
			}
			return err
		case needsGateway(path):
			return errNoGateway
		}
		if p.offline[family], err = app.OpenOffline(p.cfg, path, quiet()); err != nil {
			return err
		}
	}
	return api.Ask(ctx, api.Direct{Handler: p.offline[family].As(api.Operator(whoami()))}, method, path, body, answer)
}

// needsGateway is the error of commands that need a running gateway.
func needsGateway(path string) bool {
	return strings.HasPrefix(path, "/shelves/") || path == "/correspondents" || path == "/reload"
}

// byLogin adds the login name of the command line's user to requests on the control socket.
type byLogin struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b byLogin) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(api.LoginField, whoami())
	return b.RoundTripper.RoundTrip(r)
}

func socket(cfg *config.Config) http.RoundTripper {
	return byLogin{console.Transport(app.ControlSocket(cfg))}
}

// flush asks a running gateway to write pending records, so that an id just printed is found.
func flush(cfg *config.Config) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = api.Ask(ctx, socket(cfg), http.MethodGet, "/ledger/written", nil, nil) // none may run
}

// refused prints the table's refusal, with the item's name if there is one: a missing item, or a conflict with its
// state, is the answer no.
func refused(w world, id string, err error) error {
	p, ok := errors.AsType[api.Problem](err)
	if !ok {
		return err
	}
	why := p.Detail
	if id != "" && !strings.HasPrefix(why, id+":") {
		why = id + ": " + why
	}
	switch p.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return usageError{errors.New(p.Detail)}
	case http.StatusNotFound, http.StatusConflict, http.StatusForbidden:
		fmt.Fprintln(w.stderr, "postern:", ledger.Printable(why))
		return errNo
	}
	return errors.New(p.Detail)
}

// isStatus says whether the table answered with this status.
func isStatus(err error, status int) bool {
	p, ok := errors.AsType[api.Problem](err)
	return ok && p.Status == status
}

// helps are what the table says of its verbs, for the help of the commands that do them: ${lists_add}.
func helps() map[string]string {
	all := map[string]string{}
	for _, v := range api.Verbs() {
		if v.Name != "" {
			all[strings.NewReplacer(" ", "_", "-", "_").Replace(v.Name)] = v.Help
		}
	}
	return all
}

func whoami() string {
	u, err := user.Current()
	if err != nil {
		return "admin"
	}
	return u.Username
}
