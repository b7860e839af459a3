package main

import (
	"net/http"

	"postern/cmd/postern/app"
)

// reloadCommand does what SIGHUP does, and prints the result.
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
	if _, err := app.NewPipeline(cfg, app.Outside{}); err != nil {
		return usageError{err}
	}
	if err := act(w, c.where, http.MethodPost, "/reload", nil, nil); err != nil {
		return plainly(err)
	}

	return c.tell(w, deed{Done: "reloaded"}, "reloaded\n")
}
