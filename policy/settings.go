package policy

import (
	"postern/internal/config"
)

// Config is policy.toml.
type Config struct {
	Thresholds Thresholds         `toml:"thresholds"`
	Scores     map[string]float64 `toml:"scores"`
	// Actions forces a disposition where a symbol was seen: reject, defer, defer_if_permit (only what would be
	// delivered), drop (4xx and the connection ends), tarpit (each reply waits), quarantine, strip (the part is taken out), defang (it is made harmless), tag, or none to take a
	// built-in one away.
	Actions map[string]string `toml:"actions"`
	// OnFailure says per filter what happens when it could not do its work; "default" holds for all others.
	OnFailure map[string]string `toml:"on_failure"`
	// Outbound differs for our own users' mail, Domains for recipients of a domain.
	Outbound Scope            `toml:"outbound"`
	Domains  map[string]Scope `toml:"domain"`
	Allow    []Entry          `toml:"allow"`
	Block    []Entry          `toml:"block"`
	// Disclose is not in this file: [smtp.disclose] of postern.toml has it. It belongs to the policy's version all the
	// same, as it changes what senders hear.
	Disclose config.Disclose `toml:"-"`

	file  string
	lines config.Lines
}

// Scope holds what differs from the rest of the file. What it leaves out stays.
type Scope struct {
	Tag        *float64           `toml:"tag"`
	Quarantine *float64           `toml:"quarantine"`
	Reject     *float64           `toml:"reject"`
	Early      *float64           `toml:"early"`
	Scores     map[string]float64 `toml:"scores"`
	Actions    map[string]string  `toml:"actions"`
}

// Entry of a list fits a message if all that it names fit.
type Entry struct {
	// Sender is an address, a domain, ".example.com" for all domains below one, or "<>" for the null sender. It is looked
	// for in the envelope and in the From field.
	Sender string `toml:"sender"`
	// Network is the client's.
	Network config.Network `toml:"network"`
	// Recipient limits the entry to an address, a domain or all domains below one.
	Recipient string `toml:"recipient"`
	// Unauthenticated lets an allow entry hold for a sender whom nothing proves: anybody can pretend to be him.
	Unauthenticated bool `toml:"unauthenticated"`
	// Reason is for the admin's eyes.
	Reason string `toml:"reason"`
}

// Default is the policy without a file.
func Default() Config {
	return Config{
		Thresholds: Thresholds{Tag: 4, Quarantine: 6, Reject: 12},
		Disclose:   config.Disclose{Inbound: "full", Outbound: "full"},
	}
}

// Parse reads the text of a policy file. What it can't read it names with its line; Compile says what can't hold.
func Parse(file string, text []byte) (Config, []config.Problem) {
	c := Default()
	c.file, c.lines = file, config.IndexLines(text)
	problems := config.Strict(file, text, &c)
	return c, problems
}
