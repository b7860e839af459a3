// Command postern is a security-filtering mail proxy: a spam firewall for SMTP in front of an internal mail server.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit codes, the same for all commands.
const (
	exitDone  = 0 // done
	exitNo    = 1 // the answer is no
	exitUsage = 2 // wrong use or configuration
	exitCant  = 3 // could not run
)

// errNo is the answer no: not an error, only an exit code.
var errNo = errors.New("no")

// usageError is wrong use or a wrong configuration.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

// world is what commands read and write.
type world struct {
	ctx            context.Context
	in             io.Reader
	stdout, stderr io.Writer
}

type cli struct {
	Serve       serveCommand       `cmd:"" help:"Run the gateway in the foreground."`
	Demo        demoCommand        `cmd:"" help:"Run a demonstration: a mail system in memory behind the gateway, with good and bad mail sent through it."`
	Check       checkCommand       `cmd:"" help:"Check messages offline with the same filters and policy."`
	Explain     explainCommand     `cmd:"" help:"Explain a verdict: the whole record of a connection or a message."`
	Quarantine  quarantineCommand  `cmd:"" help:"Held mail: list, show, release, delete, export, campaigns."`
	Lists       listsCommand       `cmd:"" help:"Allow and block lists: list, search, add, remove, import."`
	Maps        mapsCommand        `cmd:"" help:"Maps of addresses, domains, networks and expressions: list, test."`
	Brands      brandsCommand      `cmd:"" help:"Known companies and offices whose names are used for fraud: list, test."`
	Digest      digestCommand      `cmd:"" help:"Quarantine digests for users: send."`
	Queue       queueCommand       `cmd:"" help:"Mail that waits for a next hop: list, retry, delete."`
	Ledger      ledgerCommand      `cmd:"" help:"Search the ledger of connections and messages."`
	Bans        bansCommand        `cmd:"" help:"Bans for password guessing: list, lift."`
	Greylist    greylistCommand    `cmd:"" help:"Greylisted senders: list, let in."`
	Harvest     harvestCommand     `cmd:"" help:"Address harvesters: list, forgive."`
	Frozen      frozenCommand      `cmd:"" help:"Frozen users: list, thaw."`
	DNSLists    dnslistsCommand    `cmd:"" name:"dnslists" help:"The DNS lists in use: list, mute."`
	Campaigns   campaignsCommand   `cmd:"" help:"Mail that came many times in small variations: list, call spam or good, forget."`
	Muted       mutedCommand       `cmd:"" help:"Temporarily muted symbols: list, lift."`
	Memory      memoryCommand      `cmd:"" help:"The state store (memory or Redis)."`
	Recall      recallCommand      `cmd:"" help:"Recall messages that turned out bad after delivery: add, list, undo."`
	Probe       probeCommand       `cmd:"" help:"Send test messages through the gateway: an honest one, GTUBE, EICAR."`
	Sweep       sweepCommand       `cmd:"" help:"${sweep}"`
	Learn       learnCommand       `cmd:"" help:"Lessons from users moving mail into and out of Junk: status, list, undo."`
	AppPassword appPasswordCommand `cmd:"" name:"app-password" help:"Passwords for single devices at the POP3 and IMAP doors: add, list, remove."`
	Policy      policyCommand      `cmd:"" help:"The policy: show, lint, plan, apply, rollback, diff, monitor, canary."`
	Token       tokenCommand       `cmd:"" help:"Tokens for the JSON interface: add, list, remove."`
	Audit       auditCommand       `cmd:"" help:"${audit}"`
	Config      configCommand      `cmd:"" help:"Check the configuration, or show the one in effect."`
	Rules       rulesCommand       `cmd:"" help:"The content rules: lint, test, stats, diff, import."`
	SPF         spfCommand         `cmd:"" name:"spf" help:"One SPF check by itself."`
	DKIM        dkimCommand        `cmd:"" name:"dkim" help:"Verify signatures, make keys."`
	ARC         arcCommand         `cmd:"" name:"arc" help:"Validate the chain of a forwarded message, step by step."`
	DMARC       dmarcCommand       `cmd:"" name:"dmarc" help:"Explain a domain's policy, read aggregate reports."`
	MTASTS      mtaSTSCommand      `cmd:"" name:"mta-sts" help:"Write the records and policy a domain publishes for MTA-STS (RFC 8461)."`
	TLSReport   tlsReportCommand   `cmd:"" name:"tls-rpt" help:"Read reports on TLS."`
	Status      statusCommand      `cmd:"" help:"Status of the running gateway and of everything it depends on."`
	Reload      reloadCommand      `cmd:"" help:"${reload}"`
	Backup      backupCommand      `cmd:"" help:"Back up everything the gateway needs into one file, while it runs."`
	Restore     restoreCommand     `cmd:"" help:"Unpack a backup."`
	Completion  completionCommand  `cmd:"" help:"Write shell completion for bash, zsh or fish."`
	Man         manCommand         `cmd:"" help:"Write manual pages."`
	Version     versionCommand     `cmd:"" help:"Print the version."`

	ShowVersion bool `name:"version" help:"Print the version."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(world{ctx, os.Stdin, os.Stdout, os.Stderr}, os.Args[1:])
	stop()
	os.Exit(code)
}

// run is the whole program but for the process around it.
func run(w world, args []string) int {
	var c cli
	exited := -1
	parser, err := kong.New(&c, kong.Name("postern"), kong.UsageOnError(), kong.Writers(w.stdout, w.stderr),
		kong.Description("A spam firewall: SMTP in at the edge, judged, out to your mail server. Users and servers change nothing.\n\n"+
			"Start with: postern serve --domain example.com --next-hop exchange.internal:25"),
		kong.Vars(helps()), kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.Exit(func(code int) { exited = code }))
	if err != nil {
		fmt.Fprintln(w.stderr, "postern:", err)
		return exitCant
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	if len(args) == 1 && args[0] == "--version" {
		args = []string{"version"}
	}
	command, err := parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintf(w.stderr, "postern: %v\nTry: %s --help\n", err, named(err))
		return exitUsage
	}
	return code(w, command.Run(w))
}

// named is the command, as far as it is known, that a mistake on the command line was made with.
func named(err error) string {
	name := "postern"
	var mistake *kong.ParseError
	if errors.As(err, &mistake) {
		for _, p := range mistake.Context.Path {
			if p.Command != nil {
				name += " " + p.Command.Name
			}
		}
	}
	return name
}

// code turns the outcome of a command into the exit code, and says what went wrong.
func code(w world, err error) int {
	var usage usageError
	var missing notYet
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errNo):
		return exitNo
	case errors.As(err, &missing):
		fmt.Fprintln(w.stderr, "postern:", missing)
		return exitNo
	case errors.As(err, &usage):
		fmt.Fprintln(w.stderr, "postern:", usage.error)
		return exitUsage
	}
	fmt.Fprintln(w.stderr, "postern:", err)
	return exitCant
}

type versionCommand struct{ output }

// version is set by the release build.
const version = "0.1.0"

// Run prints the version.
func (c versionCommand) Run(w world) error {
	return c.tell(w, map[string]string{"version": version}, "postern "+version+"\n")
}
