package main

import (
	"encoding/json"
	"fmt"
)

// output is the flag of every command that prints something.
type output struct {
	JSON bool `name:"json" help:"Print JSON, one object a line."`
}

// tell prints a value as one line of JSON where that is wanted, elsewhere the text for people, which has its own line ends.
func (o output) tell(w world, v any, text string) error {
	if o.JSON {
		return printJSON(w, v)
	}
	_, err := fmt.Fprint(w.stdout, text)
	return err
}

// deed is the result of a command on one item, as JSON. Done is a word that stays the same from release to release.
type deed struct {
	ID   string `json:"id,omitempty"`
	Done string `json:"done"`
}

// printJSON prints one value on one line.
func printJSON(w world, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w.stdout, "%s\n", line)
	return err
}
