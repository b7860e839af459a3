package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"
)

// manCommand writes manual pages, made from the commands themselves: postern(1), and one for each command.
type manCommand struct {
	Dir string `arg:"" optional:"" help:"Folder to write all pages to, as in /usr/local/share/man/man1 (default: print postern.1)."`
}

// Run writes them.
func (c *manCommand) Run(w world, k *kong.Context) error {
	if c.Dir == "" {
		_, err := fmt.Fprint(w.stdout, page(k.Model.Node, "postern"))
		return err
	}

	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return err
	}
	pages := map[string]string{"postern": page(k.Model.Node, "postern")}
	for _, n := range k.Model.Children {
		if n.Type == kong.CommandNode && !n.Hidden {
			pages["postern-"+n.Name] = page(n, "postern "+n.Name)
		}
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(c.Dir, name+".1"), []byte(text), 0o644); err != nil {
			return err
		}
	}

	_, err := fmt.Fprintf(w.stdout, "%d pages written to %s\n", len(pages), c.Dir)
	return err
}

// page is a manual page in man(7)'s macros.
func page(n *kong.Node, name string) string {
	var b strings.Builder
	title := strings.ReplaceAll(name, " ", "-")
	help := n.Help
	if n.Parent == nil {
		help = "a spam firewall in front of a mail server"
	}

	fmt.Fprintf(&b, ".TH %s 1 \"\" \"Postern\" \"Postern\"\n.SH NAME\n%s \\- %s\n", strings.ToUpper(title), roff(title), roff(strings.TrimSuffix(help, ".")))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(summary(n, name)))
	if n.Detail != "" {
		fmt.Fprintf(&b, ".SH DESCRIPTION\n%s\n", roff(n.Detail))
	}
	commands(&b, n, name)
	flags(&b, "OPTIONS", n)
	b.WriteString(".SH EXIT STATUS\n0 done, 1 the answer is no, 2 wrong use or configuration, 3 could not run\n")

	return b.String()
}

func summary(n *kong.Node, name string) string {
	parts := []string{name}
	for _, a := range n.Positional {
		parts = append(parts, a.Summary())
	}
	if len(n.Children) > 0 {
		parts = append(parts, "COMMAND")
	}

	return strings.Join(append(parts, "[OPTIONS]"), " ")
}

// commands lists what is below a command, at any depth, with the flags of each.
func commands(b *strings.Builder, n *kong.Node, name string) {
	if len(n.Children) == 0 {
		return
	}
	b.WriteString(".SH COMMANDS\n")

	var list func(n *kong.Node, name string)
	list = func(n *kong.Node, name string) {
		for _, child := range n.Children {
			if child.Type != kong.CommandNode || child.Hidden {
				continue
			}
			fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(summary(child, name+" "+child.Name)), roff(child.Help))
			if n.Parent != nil || name != "postern" { // postern(1) names commands, the others their flags
				for _, flag := range child.Flags {
					if !flag.Hidden {
						fmt.Fprintf(b, ".br\n.I %s\n%s\n", roff("--"+flag.Name), roff(flag.Help))
					}
				}
				list(child, name+" "+child.Name)
			}
		}
	}
	list(n, name)
}

func flags(b *strings.Builder, title string, n *kong.Node) {
	if len(n.Flags) == 0 {
		return
	}
	fmt.Fprintf(b, ".SH %s\n", title)
	for _, flag := range n.Flags {
		if !flag.Hidden {
			fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(flag.String()), roff(flag.Help))
		}
	}
}

// roff takes away what troff would read as a command of its own.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}

	return strings.Join(lines, "\n")
}
