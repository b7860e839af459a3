package main

import (
	"errors"

	"postern/cmd/postern/house"
)

// reloadCommand does what SIGHUP does, and says how it went.
type reloadCommand struct {
	where
	output
}

// Run checks the files first: the gateway would only write to its log what is wrong.
func (c *reloadCommand) Run(w world) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	if _, err := house.NewJudge(cfg, house.Outside{}); err != nil {
		return usageError{err}
	}
	if err := enter(cfg.DataDir, house.ControlSocket(cfg)); err != nil {
		return errors.New("no gateway is running with this configuration")
	}
	if err := reload(w, cfg); err != nil {
		return err
	}

	return c.tell(w, deed{Done: "reloaded"}, "reloaded\n")
}
