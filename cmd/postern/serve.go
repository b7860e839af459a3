package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"postern/cmd/postern/app"
	"postern/internal/config"
)

// quick is where the configuration comes from: a file, or two settings.
type quick struct {
	where
	Domain  string `placeholder:"DOMAIN" help:"Without a configuration file: the domain whose mail comes in."`
	NextHop string `placeholder:"HOST:PORT" help:"Without a configuration file: the internal mail server."`
	Listen  string `placeholder:"ADDR" help:"Without a configuration file: where to listen (default :25)."`
}

type serveCommand struct {
	quick
	LogFormat string `enum:"text,json," default:"" help:"How to log to stderr: text or json."`
}

// Run serves until SIGTERM or SIGINT; SIGHUP reads the configuration again.
func (c *serveCommand) Run(w world) error {
	cfg, err := c.configuration()
	if err != nil {
		return err
	}
	log := newLog(w, cfg, c.LogFormat)
	h, err := app.Open(cfg, app.Outside{Log: log})
	if err != nil {
		return err
	}
	defer h.Close()
	h.Reloader(c.configuration)
	if err := h.Listen(w.ctx); err != nil {
		return err
	}
	for _, d := range h.Addresses() {
		log.Info("listening", "door", d.Name, "address", d.Address)
	}
	if _, err := fmt.Fprintln(w.stdout, "postern: ready"); err != nil {
		return err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-hup:
			c.reload(h, log)
		case <-w.ctx.Done():
			log.Info("shutting down")
			return nil
		}
	}
}

// reload puts the new configuration in force, or keeps the old one where the new one is wrong.
func (c *serveCommand) reload(h *app.App, log *slog.Logger) {
	cfg, err := c.configuration()
	if err == nil {
		err = h.Reload(cfg)
	}
	if err != nil {
		log.Error("reload: the old settings stay in force", "error", err)
		return
	}
	log.Info("reloaded")
}

func (c *quick) configuration() (*config.Config, error) {
	if c.Domain == "" && c.NextHop == "" {
		return c.load()
	}
	if c.Config != "" {
		return nil, usageError{errors.New("give either -c FILE or --domain and --next-hop, not both")}
	}
	cfg, err := config.FromFlags(c.Domain, c.NextHop, c.Listen)
	if err != nil {
		return nil, usageError{err}
	}
	if problems := cfg.Check(app.KnownFilters()); len(problems) > 0 {
		return nil, usageError{problems}
	}
	return cfg, nil
}

func newLog(w world, cfg *config.Config, format string) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Log.Level)); err != nil {
		level = slog.LevelInfo // the configuration was checked
	}
	options := &slog.HandlerOptions{Level: level}
	if format == "json" || format == "" && cfg.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(w.stderr, options))
	}
	return slog.New(slog.NewTextHandler(w.stderr, options))
}
