package app

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"postern/proxy/console"
	"postern/proxy/console/api"
	"postern/proxy/console/web"
)

// webServer is an HTTP server of ours.
type webServer struct {
	address string
	server  *http.Server
}

// openWeb starts the console and the metrics, where an address is set for them.
func (a *App) openWeb() error {
	password, err := firstLine("console.password_file", a.cfg.Console.PasswordFile)
	if err != nil {
		return err
	}
	pages, err := web.Handler(web.Options{Host: a.cfg.Hostname, As: a.verbs.As, Password: password, Guard: a.bans, Log: a.out.Log, Now: a.out.Now,
		Token: func(ctx context.Context, secret string) (api.Caller, error) {
			return a.acts.Open(ctx, secret, a.out.Now())
		}})
	if err != nil {
		return err
	}
	both := http.NewServeMux()
	both.Handle("/", pages)
	both.Handle("/api/v1/", a.verbs)
	if a.digests != nil {
		links, err := console.LinkPages(a.links(), a.out.Log)
		if err != nil {
			return err
		}
		both.Handle("/q/", links)
	}
	if err := a.serveWeb("console", string(a.cfg.Console.Listen), both); err != nil {
		return err
	}
	metrics := http.NewServeMux()
	metrics.HandleFunc("GET /metrics", a.metrics)
	metrics.HandleFunc("GET /healthz", a.health)
	metrics.HandleFunc("GET /readyz", a.health)
	return a.serveWeb("metrics", string(a.cfg.Metrics.Listen), metrics)
}

func (a *App) serveWeb(name, address string, handler http.Handler) error {
	if address == "" {
		return nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	w := &webServer{l.Addr().String(), &http.Server{Handler: handler, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute, MaxHeaderBytes: 64 << 10}}
	a.webs = append(a.webs, w)
	a.running.Go(func() {
		if err := w.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.out.Log.Error(name, "error", err)
		}
	})
	a.out.Log.Info("listening", "door", name, "address", w.address)
	return nil
}

// ConsoleAddress is where the console listens, "" if it does not.
func (a *App) ConsoleAddress() string {
	if len(a.webs) == 0 || a.cfg.Console.Listen == "" {
		return ""
	}
	return a.webs[0].address
}
