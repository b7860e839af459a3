// Package policy turns findings into verdicts. It is pure: the same facts, the same policy and the same recipient give
// the same verdict, octet by octet, on any machine at any time. So yesterday's mail can be judged again by tomorrow's
// policy, and `postern explain` never has to guess.
package policy

import "postern/internal/mail"

// Disposition is the outcome of a message for one recipient. It is defined in package mail, so that filters know it as
// well.
type Disposition = mail.Disposition

// The dispositions.
const (
	Accept     = mail.Accept
	Tag        = mail.Tag
	Quarantine = mail.Quarantine
	Defer      = mail.Defer
	Reject     = mail.Reject
)

// Verdict is what policy says about one message for one recipient.
type Verdict struct {
	Recipient   mail.Address `json:"recipient"`
	Disposition Disposition  `json:"disposition"`
	Score       float64      `json:"score"`
	Required    Thresholds   `json:"required"`
	// Reasons are the symbols that were seen, in the order of the findings, then the entry of a list that matched.
	Reasons []Reason `json:"reasons,omitempty"`
	// Decisive is one sentence on what decided the verdict.
	Decisive string `json:"decisive"`
	// Reply is the SMTP reply if this verdict holds for all recipients.
	Reply mail.Reply `json:"reply"`
	// Drop is set if the connection is to end with this refusal, Tarpit if the client is to wait for each of our replies.
	Drop bool `json:"drop,omitempty"`
	// Strip are the symbols whose parts are removed from the copy; the original is held.
	Strip []string `json:"strip,omitempty"`
	// Defang are the symbols whose parts are made harmless in the same way.
	Defang []string `json:"defang,omitempty"`
	Tarpit bool     `json:"tarpit,omitempty"`
	// Rules are the names of the rules that fit, in the order in which they were asked.
	Rules []string `json:"rules,omitempty"`
	// Monitored are the rules that match in monitor mode.
	Monitored []Watched `json:"monitored,omitempty"`
	// What rules do to the copy that is delivered; nothing of it is there for a message that is not. RedirectTo is null
	// where the message goes to its recipient.
	Headers    []HeaderField  `json:"headers,omitempty"`
	RedirectTo mail.Address   `json:"redirect_to,omitzero"`
	CopyTo     []mail.Address `json:"copy_to,omitempty"`
	Banner     string         `json:"banner,omitempty"`
	Disclaimer string         `json:"disclaimer,omitempty"`
	// Notify are the addresses that are notified of the message, unless it is deferred: then it is retried.
	Notify []mail.Address `json:"notify,omitempty"`
	// ListEntry is the id of the entry of a list that matched, if it has one, also if it was not what decided.
	ListEntry string `json:"list_entry,omitempty"`
	// PolicyVersion names the policy that decided.
	PolicyVersion string `json:"policy_version"`
}

// Reason is one symbol with what it weighs, or one entry of a list.
type Reason struct {
	Symbol   string   `json:"symbol"`
	Score    float64  `json:"score"`
	Evidence []string `json:"evidence,omitempty"`
	Help     string   `json:"help,omitempty"`
}

// Watched is a rule that matches in monitor mode.
type Watched struct {
	Rule string `json:"rule"`
	// Would is the disposition if the rule were in force, all else being equal.
	Would Disposition `json:"would"`
	// Failed is the reason why the rule could not be evaluated, "" if it could.
	Failed string `json:"failed,omitempty"`
}

// Thresholds are the scores from which on a message is tagged, held, refused. Early is the one from which on its
// recipients are refused, before there is a message: that of Reject if it is 0.
type Thresholds struct {
	Tag        float64 `json:"tag" toml:"tag"`
	Quarantine float64 `json:"quarantine" toml:"quarantine"`
	Reject     float64 `json:"reject" toml:"reject"`
	Early      float64 `json:"early,omitempty" toml:"early"`
}

// Symbols of policy's own reasons.
const (
	Allowed = "LIST_ALLOW"
	Blocked = "LIST_BLOCK"
	// NotAllowed is the reason that an allow entry matches but does not apply, as the sender is not authenticated.
	NotAllowed = "LIST_ALLOW_UNPROVEN"
	// Ruled is the reason that a rule's action decides or takes part; RuleUnproven that a rule would accept but does not,
	// as the sender is not authenticated; RuleFailed that a rule could not be evaluated.
	Ruled        = "RULE"
	RuleUnproven = "RULE_UNPROVEN"
	RuleFailed   = "RULE_FAILED"
	// GroupMax is the reason that the symbols of a group count less than their sum.
	GroupMax = "GROUP_MAX"
)

// OwnSymbols are the symbols that policy itself puts among the reasons.
func OwnSymbols() []string {
	return []string{Allowed, Blocked, NotAllowed, Ruled, RuleUnproven, RuleFailed, GroupMax}
}
