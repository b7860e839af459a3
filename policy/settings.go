package policy

import (
	"postern/filters"
	"postern/internal/config"
	"postern/rules/mapfile"
)

// Config is policy.toml.
type Config struct {
	Thresholds Thresholds         `toml:"thresholds"`
	Scores     map[string]float64 `toml:"scores"`
	// Actions is the action for each symbol, whatever the score is: see actionTable.
	Actions map[string]filters.Action `toml:"actions"`
	// OnFailure is the disposition per filter when it fails; "default" holds for all others.
	OnFailure map[string]string `toml:"on_failure"`
	// Outbound differs for our own users' mail, Domains for recipients of a domain.
	Outbound Scope            `toml:"outbound"`
	Domains  map[string]Scope `toml:"domain"`
	// RecipientGroups differs for members of a group, Recipients for one address.
	RecipientGroups map[string]Scope `toml:"recipient_group" json:",omitempty"`
	Recipients      map[string]Scope `toml:"recipient" json:",omitempty"`
	// SymbolGroups are symbols about the same property.
	SymbolGroups map[string]SymbolGroup `toml:"group" json:",omitempty"`
	Allow        []Entry                `toml:"allow"`
	Block        []Entry                `toml:"block"`
	// Rules are the admin's own. Who, What and Windows are the objects that they name.
	Rules   []Rule            `toml:"rule" json:",omitempty"`
	Who     map[string]Who    `toml:"who" json:",omitempty"`
	What    map[string]What   `toml:"what" json:",omitempty"`
	Windows map[string]Window `toml:"time" json:",omitempty"`
	// Timezone is the one of time windows, expiry dates and of time in rules, as the IANA database names it: UTC if empty.
	Timezone string `toml:"timezone" json:",omitempty"`
	// Disclose is not in this file: [smtp.disclose] of postern.toml has it. It belongs to the policy's version all the
	// same, as it changes the replies to senders.
	Disclose config.Disclose `toml:"-"`
	// Maps are not in this file either: [maps] of postern.toml names them. What they hold belongs to the policy's version.
	Maps mapfile.Set `toml:"-" json:",omitempty"`

	file  string
	lines config.Lines
	whens map[int]passage // where the conditions of the rules stand in the file
}

// Scope holds what differs from the rest of the file. What it leaves out stays.
type Scope struct {
	Tag        *float64                  `toml:"tag"`
	Quarantine *float64                  `toml:"quarantine"`
	Reject     *float64                  `toml:"reject"`
	Early      *float64                  `toml:"early"`
	Scores     map[string]float64        `toml:"scores"`
	Actions    map[string]filters.Action `toml:"actions"`
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
	// Unauthenticated makes an allow entry apply to a sender that is not authenticated: such a sender can be forged.
	Unauthenticated bool `toml:"unauthenticated"`
	// Reason is for the admin only, and so is Owner, the person responsible for the entry.
	Reason string `toml:"reason"`
	Owner  string `toml:"owner" json:",omitempty"`
	// ID names the entry in verdicts, so that its hits can be counted; up to 64 printable characters.
	ID string `toml:"id" json:",omitempty"`
	// Expires is the last day on which the entry holds, as in "2026-12-31"; "" for ever.
	Expires string `toml:"expires" json:",omitempty"`
}

// ListEntry is an entry of a list that is kept elsewhere than in the file. Such entries stand behind those of the file.
type ListEntry struct {
	// List is Allow or Block.
	List ListName
	Entry
}

// ListName says which list is meant.
type ListName string

// The lists.
const (
	Allow ListName = "allow"
	Block ListName = "block"
)

// SymbolGroup is a set of symbols about the same property, whose sum is bounded.
type SymbolGroup struct {
	Symbols []string `toml:"symbols"`
	// Max is their highest sum, Score the score of each, Action the action of each; an entry for a single symbol in
	// [scores] or [actions] goes before the last two.
	Max    *float64       `toml:"max"`
	Score  *float64       `toml:"score"`
	Action filters.Action `toml:"action"`
}

// Default is the policy without a file.
func Default() Config {
	return Config{
		Thresholds: Thresholds{Tag: 4, Quarantine: 6, Reject: 12},
		Disclose:   config.Disclose{Inbound: "full", Outbound: "full"},
	}
}

// Parse reads the text of a policy file. Syntax errors are reported with their line; Compile reports the rest.
func Parse(file string, text []byte) (Config, []config.Problem) {
	c := Default()
	c.file, c.lines = file, config.IndexLines(text)
	problems := config.Strict(file, text, &c)
	if len(problems) == 0 && len(c.Rules) > 0 {
		c.whens = passages(text)
	}
	return c, problems
}
