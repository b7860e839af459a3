package main

import (
	"fmt"
	"sort"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCommand writes what a shell needs to complete our commands, made from the commands themselves.
type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help says how the script is put to use.
func (completionCommand) Help() string {
	return "bash: postern completion bash > /etc/bash_completion.d/postern\n" +
		"zsh:  postern completion zsh > \"${fpath[1]}/_postern\"\n" +
		"fish: postern completion fish > ~/.config/fish/completions/postern.fish"
}

// Run writes the script.
func (c *completionCommand) Run(w world, k *kong.Context) error {
	words := completions(k.Model.Node, "", map[string][]string{})
	var b strings.Builder

	switch c.Shell {
	case "fish":
		fishCompletion(&b, words)
	case "zsh":
		// zsh runs what is written for bash
		b.WriteString("#compdef postern\nautoload -U +X bashcompinit && bashcompinit\n")
		bashCompletion(&b, words)
	default:
		bashCompletion(&b, words)
	}

	_, err := fmt.Fprint(w.stdout, b.String())
	return err
}

// completions gives the words that may follow each command: its commands and its flags.
func completions(n *kong.Node, path string, all map[string][]string) map[string][]string {
	var words []string

	for _, child := range n.Children {
		if child.Type == kong.CommandNode && !child.Hidden {
			words = append(words, child.Name)
			completions(child, path+" "+child.Name, all)
		}
	}
	for _, group := range n.AllFlags(true) {
		for _, flag := range group {
			words = append(words, "--"+flag.Name)
		}
	}

	sort.Strings(words)
	all[path] = words

	return all
}

func sortedKeys(words map[string][]string) []string {
	keys := make([]string, 0, len(words))
	for key := range words {
		keys = append(keys, key)
	}
	sort.Strings(keys)

	return keys
}

func bashCompletion(b *strings.Builder, words map[string][]string) {
	b.WriteString("_postern_words() {\n  case \"$1\" in\n")
	for _, path := range sortedKeys(words) {
		fmt.Fprintf(b, "  \"%s\") echo \"%s\" ;;\n", path, strings.Join(words[path], " "))
	}
	b.WriteString("  esac\n}\n")

	b.WriteString(`_postern() {
  local current="${COMP_WORDS[COMP_CWORD]}" path="" word
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) continue ;; esac
    case " $(_postern_words "$path") " in *" $word "*) path="$path $word" ;; esac
  done
  COMPREPLY=($(compgen -W "$(_postern_words "$path")" -- "$current"))
  if [ ${#COMPREPLY[@]} -eq 0 ]; then COMPREPLY=($(compgen -f -- "$current")); fi
}
complete -o filenames -F _postern postern
`)
}

func fishCompletion(b *strings.Builder, words map[string][]string) {
	b.WriteString("function __postern_words\n  switch \"$argv[1]\"\n")
	for _, path := range sortedKeys(words) {
		fmt.Fprintf(b, "  case \"%s\"\n    printf '%%s\\n' %s\n", path, strings.Join(words[path], " "))
	}
	b.WriteString("  end\nend\n")

	b.WriteString(`function __postern_complete
  set -l path ""
  for word in (commandline -opc)[2..-1]
    if contains -- "$word" (__postern_words "$path")
      and not string match -q -- '-*' "$word"
      set path "$path $word"
    end
  end
  __postern_words "$path"
end
complete -c postern -a '(__postern_complete)'
`)
}
