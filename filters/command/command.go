// Package command asks a program of the admin's about each message: the message comes to its standard input, its exit code
// is the answer.
package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
)

// Settings are the filter's settings.
type Settings struct {
	// Command is the program with its arguments; no shell reads them.
	Command []string `toml:"command"`
	// Clean are the exit codes that say that nothing was found, Hit those that say that something was. Any other is a
	// failure of the program.
	Clean []int `toml:"clean"`
	Hit   []int `toml:"hit"`
	// Refuse are exit codes that say that the message is to be refused.
	Refuse []int `toml:"refuse"`
	// User is who the program runs as, if the gateway runs as root; "nobody" by default.
	User string `toml:"user"`
	// CPU seconds and Memory octets are what it may use, Timeout how long it may take.
	CPU     int             `toml:"cpu_seconds"`
	Memory  config.Size     `toml:"memory"`
	Timeout config.Duration `toml:"timeout"`
	// Processes is how many run at a time.
	Processes int `toml:"processes"`
	// MaxSize is the largest message it is given; a larger one is not looked at, and says so.
	MaxSize config.Size `toml:"max_size"`
	// Outbound says whether mail of our own users is looked at, too.
	Outbound bool `toml:"outbound"`
	// Required says that mail waits (451) while the scanner is away; else it is judged without it, and says so.
	Required bool `toml:"required"`
}

func defaults() Settings {
	return Settings{Clean: []int{0}, Hit: []int{1}, Refuse: []int{2}, User: "nobody", CPU: 20, Memory: 1 << 30, Timeout: config.Duration(30 * time.Second),
		Processes: 4, MaxSize: 25_000_000, Outbound: true}
}

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name: "command",
	Help: "Asks a program of yours about each message: it comes to its standard input. The program runs without a shell, without our " +
		"environment and files, as another user if we are root, in an empty folder, with bounds on time, CPU and memory; the network and " +
		"the file system are not closed to it. Off until a command is set.",
	Stages: mail.StageMessage, Content: true,
	After:    []string{"dmarc", "headers", "impersonation", "mime", "attachments"}, // what they refuse need not be scanned
	Timeout:  time.Minute,
	Disabled: true,
	Symbols: []filters.Symbol{
		{Name: "COMMAND_HIT", Score: 5, Help: "the admin's own program found something"},
		{Name: "COMMAND_REFUSE", Score: 15, Action: filters.ActionReject, Help: "the admin's own program refuses this message", Reply: "A check at this site refuses this message"},
		{Name: "COMMAND_NOT_SCANNED", Score: 0, Action: filters.ActionQuarantine, Help: "the message is too large for the admin's own program, or was refused anyway"},
	},
	Settings: func() any { s := defaults(); return &s },
	New:      newFilter,
}

type filter struct {
	settings Settings
	path     string
	as       *syscall.Credential // nil if we are not root
	places   chan struct{}
}

func newFilter(section config.Section, _ filters.Env) (filters.Filter, error) {
	s := defaults()
	if err := section.Decode(&s); err != nil {
		return nil, err
	}
	switch {
	case len(s.Command) == 0:
		return nil, errors.New("[filters.command]: command is missing: write it as in [\"/usr/local/bin/scan\", \"-\"]")
	case !filepath.IsAbs(s.Command[0]):
		return nil, fmt.Errorf("[filters.command]: command: %q is not a whole path: write it as in \"/usr/local/bin/scan\"", s.Command[0])
	case s.Processes < 1 || s.CPU < 1 || s.Memory < 1<<20:
		return nil, errors.New("[filters.command]: processes, cpu_seconds and memory: set them to 1, 1 and 1MB or more")
	case s.Timeout <= 0 || time.Duration(s.Timeout) > 55*time.Second:
		return nil, errors.New("[filters.command]: timeout: set it above 0 and to 55s at most")
	}
	if info, err := os.Stat(s.Command[0]); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
		return nil, fmt.Errorf("[filters.command]: command: %s is not a program that can be run", s.Command[0])
	}
	f := &filter{settings: s, path: s.Command[0], places: make(chan struct{}, s.Processes)}
	if os.Geteuid() == 0 {
		as, err := credential(s.User)
		if err != nil {
			return nil, fmt.Errorf("[filters.command]: user: %w", err)
		}
		f.as = as
	}
	return f, nil
}

func credential(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
}

// Ping implements filters.Server: whether the program is there and may be run. Running it is for messages only.
func (f *filter) Ping(context.Context) error {
	info, err := os.Stat(f.path)
	if err == nil && (info.IsDir() || info.Mode()&0o111 == 0) {
		err = fmt.Errorf("%s is not a program that can be run", f.path)
	}
	return err
}

// Address implements filters.Server.
func (f *filter) Address() string { return f.path }

// Required implements filters.Server.
func (f *filter) Required() bool { return f.settings.Required }

// Inspect implements filters.Filter.
func (f *filter) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	switch {
	case tx.Session.Outbound() && !f.settings.Outbound:
		return nil, nil
	case tx.Message.Size() > int64(f.settings.MaxSize):
		return []filters.Finding{{Symbol: "COMMAND_NOT_SCANNED", Evidence: fmt.Sprintf("%d octets", tx.Message.Size())}}, nil
	}
	if tx.Refused != nil && tx.Refused() {
		return []filters.Finding{{Symbol: "COMMAND_NOT_SCANNED", Evidence: "the message is refused anyway"}}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(f.settings.Timeout))
	defer cancel()
	select {
	case f.places <- struct{}{}:
		defer func() { <-f.places }()
	case <-ctx.Done():
		return nil, fmt.Errorf("all places for %s are taken: %w", f.path, ctx.Err())
	}
	code, said, err := f.run(ctx, tx.Message)
	if err != nil {
		return nil, err
	}
	evidence := filters.Printable(said)
	switch {
	case slices.Contains(f.settings.Refuse, code):
		return []filters.Finding{{Symbol: "COMMAND_REFUSE", Evidence: evidence}}, nil
	case slices.Contains(f.settings.Hit, code):
		return []filters.Finding{{Symbol: "COMMAND_HIT", Evidence: evidence}}, nil
	case slices.Contains(f.settings.Clean, code):
		return nil, nil
	}
	return nil, fmt.Errorf("%s ended with exit code %d: %s", f.path, code, evidence)
}

// run gives the exit code and the first line that the program wrote.
func (f *filter) run(ctx context.Context, m *mail.Message) (code int, said string, err error) {
	dir, err := os.MkdirTemp("", "postern-command-")
	if err != nil {
		return 0, "", err
	}
	defer os.RemoveAll(dir)
	if f.as != nil {
		if err := os.Chown(dir, int(f.as.Uid), int(f.as.Gid)); err != nil {
			return 0, "", err
		}
	}
	// the limits hold for what is run after them: prlimit(1) of util-linux sets them, then becomes the program
	limits := []string{"--cpu=" + strconv.Itoa(f.settings.CPU), "--as=" + strconv.FormatInt(int64(f.settings.Memory), 10), "--nofile=64", "--core=0", "--fsize=67108864", "--"}
	cmd := exec.CommandContext(ctx, "/usr/bin/prlimit", append(limits, f.settings.Command...)...)
	if _, err := os.Stat(cmd.Path); err != nil {
		return 0, "", fmt.Errorf("util-linux is not here: %w", err)
	}
	out := &front{room: maxOutput}
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}, m.Open(), out, io.Discard
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: f.as}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // it and whatever it has started
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left behind
	}
	line, _, _ := strings.Cut(out.buf.String(), "\n")
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return 0, "", fmt.Errorf("%s was not done in time: %w", f.path, ctx.Err())
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode(), line, nil
	case errors.Is(err, syscall.EPIPE): // it did not read all of the message, which is its own affair
		return cmd.ProcessState.ExitCode(), line, nil
	case err != nil:
		return 0, "", fmt.Errorf("%s: %w", f.path, err)
	}
	return 0, line, nil
}

// maxOutput is how much of what the program writes is kept, in octets.
const maxOutput = 4096

// front keeps the front of what is written and swallows the rest.
type front struct {
	buf  bytes.Buffer
	room int
}

// Write implements io.Writer.
func (f *front) Write(p []byte) (int, error) {
	n := min(len(p), f.room)
	f.buf.Write(p[:n])
	f.room -= n
	return len(p), nil
}
