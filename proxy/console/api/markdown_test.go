package api

import (
	"fmt"
	"strings"
)

// markdown is the page of the verbs, drawn from the table that serves them.
func markdown(verbs []Verb) string {
	var b strings.Builder
	b.WriteString(`# What can be done, by whom, and how

One table serves the JSON interface, the console and the command line. This page is drawn from it: run
` + "`POSTERN_WRITE=1 go test ./proxy/console/api`" + ` after a change of the table.

The command line asks the running gateway over its control socket; where none runs it does the same in its own process. Who
asks there is an admin. Paths begin with ` + "`" + prefix + "`" + `. Whatever changes something stands in ` + "`postern audit`" + `, by whichever way it was
asked for, and also when it was refused.

## What changes something

| command | request | arguments | roles | what it does |
|---|---|---|---|---|
`)
	for _, v := range verbs {
		if v.Acts() {
			fmt.Fprintf(&b, "| %s | `%s %s` | %s | %s | %s |\n", v.command(), v.Method, v.Path, arguments(v), roleNames(v.Roles, ", "), v.Help)
		}
	}
	b.WriteString("\n## What only looks\n\n| request | arguments | roles | what it shows |\n|---|---|---|---|\n")
	for _, v := range verbs {
		if !v.Acts() {
			fmt.Fprintf(&b, "| `%s %s` | %s | %s | %s |\n", v.Method, v.Path, arguments(v), roleNames(v.Roles, ", "), v.Help)
		}
	}
	b.WriteString("\n## What a role sees\n\nAdmins, the help desk and auditors see whole records. Others see these fields of what is theirs, and no others.\n\n| record | role | fields |\n|---|---|---|\n")
	for _, f := range fields() {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", f.record, f.role, strings.Join(strings.Fields(f.names), ", "))
	}
	return b.String()
}

func (v Verb) command() string {
	if v.Name == TableVerb {
		return "`bans`, `greylist`, `harvest`, `frozen`, `dnslists`, `muted`, `campaigns` and a verb"
	}
	return "`" + v.Name + "`"
}

func arguments(v Verb) string {
	var names []string
	for _, p := range append(v.Query[:len(v.Query):len(v.Query)], v.Body...) {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

func roleNames(roles []Role, between string) string {
	var names []string
	for _, r := range roles {
		names = append(names, string(r))
	}
	return strings.Join(names, between)
}
