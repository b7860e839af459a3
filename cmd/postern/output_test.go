package main

import (
	"io"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// withoutJSON are the commands that need no --json, and why.
func withoutJSON() map[string]string {
	return map[string]string{
		"serve":             "it runs until it is told to stop, and logs: --log-format json",
		"completion":        "it writes a script for a shell",
		"man":               "it writes manual pages",
		"quarantine export": "it writes the octets of a message",
	}
}

// Every command that prints something prints JSON where that is wanted.
func TestEveryCommandSpeaksJSON(t *testing.T) {
	parser, err := kong.New(&cli{}, kong.Name("postern"), kong.Vars(helps()), kong.Writers(io.Discard, io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	exempt, seen := withoutJSON(), 0
	var walk func(n *kong.Node, name string)
	walk = func(n *kong.Node, name string) {
		for _, child := range n.Children {
			if child.Type == kong.CommandNode {
				walk(child, strings.TrimSpace(name+" "+child.Name))
			}
		}
		if len(n.Children) > 0 {
			return
		}
		seen++
		speaks := false
		for _, f := range n.Flags {
			speaks = speaks || f.Name == "json"
		}
		_, excused := exempt[name]
		delete(exempt, name)
		if speaks == excused {
			t.Errorf("postern %s: has --json: %v, is excused from it: %v", name, speaks, excused)
		}
	}
	walk(parser.Model.Node, "")
	if seen < 80 {
		t.Errorf("only %d commands were looked at", seen)
	}
	for name, why := range exempt {
		t.Errorf("postern %s is excused (%s), but there is no such command", name, why)
	}
}
