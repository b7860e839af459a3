package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"postern/filters"
	"postern/internal/mail"
)

// action is a row of the table of actions. A new action is a row here with its effect, a word in filters/action.go and a row
// in docs/policy.md.
type action struct {
	word filters.Action
	// symbol and rule say what may have it: a symbol by its Spec or [actions], a rule by its key action.
	symbol, rule bool
	// forced is the mildest disposition of the message; Accept leaves it to the score.
	forced Disposition
	// drop ends the connection with the refusal.
	drop bool
	// note is its further effect on the verdict when the symbol is found, nil for none.
	note func(t *tally, found *Finding, sym *symbol)
	// part is the list of symbols whose parts are rewritten, nil where none are.
	part func(t *tally) *[]string
	// help is the row of docs/policy.md.
	help string
}

var actionTable = []*action{
	{word: filters.ActionAccept, rule: true, help: "delivered as it is"},
	{word: filters.ActionReject, symbol: true, rule: true, forced: Reject, help: "refused with 550, whatever the score is"},
	{word: filters.ActionDefer, symbol: true, rule: true, forced: Defer, help: "451: an honest server tries again"},
	{word: filters.ActionDeferIfPermit, symbol: true, note: putsOff,
		help: "451 for what would be delivered otherwise; what the score holds or refuses, and who is on the allow list, does not wait"},
	{word: filters.ActionDrop, symbol: true, forced: Defer, drop: true, help: "421, and the connection ends"},
	{word: filters.ActionTarpit, symbol: true, note: slows, help: "nothing is refused, but each of our replies waits (`[smtp] tarpit`)"},
	{word: filters.ActionQuarantine, symbol: true, rule: true, forced: Quarantine, help: "the least that happens: the score can still make it stricter"},
	{word: filters.ActionStrip, symbol: true, part: func(t *tally) *[]string { return &t.strip }, help: "the part is taken out of the copy, a notice stands in its place"},
	{word: filters.ActionDefang, symbol: true, part: func(t *tally) *[]string { return &t.defang }, help: "an HTML part loses its scripts, forms and frames"},
	{word: filters.ActionTag, symbol: true, rule: true, forced: Tag, help: "the least that happens: the score can still make it stricter"},
	{word: filters.ActionNone, symbol: true, help: "takes a built-in action away"},
}

// slows delays each of our replies.
func slows(t *tally, _ *Finding, _ *symbol) { t.tarpit = true }

// putsOff notes the first symbol that defers what would be delivered.
func putsOff(t *tally, found *Finding, sym *symbol) {
	if t.laterName == "" {
		t.later, t.laterName = *sym, found.Symbol
	}
}

// actionOf is the row of an action's name, nil if there is none.
func actionOf(word filters.Action) *action {
	for _, a := range actionTable {
		if a.word == word {
			return a
		}
	}

	return nil
}

// act gives the symbol an action in place of the one it had.
func (s *symbol) act(word filters.Action) error {
	s.does, s.forced = nil, Accept
	if word == filters.NoAction || word == filters.ActionNone {
		return nil
	}
	a := actionOf(word)
	if a == nil || !a.symbol {
		return fmt.Errorf("%q is not an action; write %s", word, eitherOf(wordsOf(func(a *action) bool { return a.symbol })))
	}
	s.does, s.forced = a, a.forced

	return nil
}

// is says whether the symbol has this action.
func (s *symbol) is(word filters.Action) bool { return s.does != nil && s.does.word == word }

// drops says whether the symbol ends the connection.
func (s *symbol) drops() bool { return s.does != nil && s.does.drop }

// rewrites says whether the symbol's part is taken out or made harmless.
func (s *symbol) rewrites() bool { return s.does != nil && s.does.part != nil }

// action is the name of a symbol's action, as act reads it.
func (s *symbol) action() filters.Action {
	if s.does == nil {
		return filters.NoAction
	}

	return s.does.word
}

// ruleAction reads the action of a rule.
func ruleAction(word filters.Action) (Disposition, error) {
	for _, e := range ruleEffects {
		if string(word) == e.word {
			return Accept, fmt.Errorf("%q is no action of its own; it has a key: %s", word, eitherOf(ruleKeys()))
		}
	}
	a := actionOf(word)
	if a == nil || !a.rule {
		rules := slices.SortedFunc(slices.Values(actionTable), func(a, b *action) int { return cmp.Compare(a.forced, b.forced) })
		rules = slices.DeleteFunc(rules, func(a *action) bool { return !a.rule })
		words := make([]string, len(rules))
		for i, a := range rules {
			words[i] = string(a.word)
		}
		return Accept, fmt.Errorf("%q is not an action; write %s", word, eitherOf(words))
	}

	return a.forced, nil
}

// wordsOf are the names of some actions, in the order of the table.
func wordsOf(some func(*action) bool) []string {
	var words []string
	for _, a := range actionTable {
		if some(a) {
			words = append(words, string(a.word))
		}
	}

	return words
}

// eitherOf is a list as a sentence has it.
func eitherOf(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// argument is what a key of a rule takes.
type argument string

// The kinds of arguments.
const (
	argText      argument = "a text"
	argAddress   argument = "an address"
	argAddresses argument = "addresses"
	argSymbols   argument = "symbols"
	argFields    argument = "header fields"
)

// ruleEffect is what a rule does beside its action, by a key with an argument. A new one is a row here and a field of
// Rule and of Verdict; its effect on the copy is in proxy/actions.go.
type ruleEffect struct {
	// key is that of the rule; word is what some write as an action instead.
	key, word string
	argument  argument
	// given is how many values the rule gives.
	given func(*Rule) int
	// check reads the argument, and says what is wrong with it.
	check func(c *compiler, at string, r *rule)
	// ask puts it into the verdict. Of what there can be one of, the first rule's counts. It is nil for what the tally does.
	ask func(v *Verdict, r *rule)
	// drop takes it out of the verdict on a message that is not delivered, nil for what is done then as well.
	drop func(v *Verdict)
}

var ruleEffects = []ruleEffect{
	{key: "redirect_to", word: "redirect", argument: argAddress, given: func(r *Rule) int { return len(r.RedirectTo) },
		check: checkRedirect, ask: askRedirect, drop: func(v *Verdict) { v.RedirectTo = mail.Address{} }},
	{key: "copy_to", word: "copy", argument: argAddresses, given: func(r *Rule) int { return len(r.CopyTo) },
		check: func(c *compiler, at string, r *rule) { r.copies = c.addresses(at, r.CopyTo) },
		ask:   func(v *Verdict, r *rule) { v.CopyTo = union(v.CopyTo, r.copies) }, drop: func(v *Verdict) { v.CopyTo = nil }},
	{key: "strip", word: "strip", argument: argSymbols, given: func(r *Rule) int { return len(r.Strip) },
		check: func(c *compiler, at string, r *rule) { c.symbolKeys(at, r.Strip) }},
	{key: "banner", word: "banner", argument: argText, given: func(r *Rule) int { return len(r.Banner) },
		check: func(c *compiler, at string, r *rule) { c.notice(at, r.Banner) },
		ask:   func(v *Verdict, r *rule) { v.Banner = cmp.Or(v.Banner, r.Banner) }, drop: func(v *Verdict) { v.Banner = "" }},
	{key: "disclaimer", word: "disclaimer", argument: argText, given: func(r *Rule) int { return len(r.Disclaimer) },
		check: func(c *compiler, at string, r *rule) { c.notice(at, r.Disclaimer) },
		ask:   func(v *Verdict, r *rule) { v.Disclaimer = cmp.Or(v.Disclaimer, r.Disclaimer) }, drop: func(v *Verdict) { v.Disclaimer = "" }},
	{key: "notify", word: "notify", argument: argAddresses, given: func(r *Rule) int { return len(r.Notify) },
		check: func(c *compiler, at string, r *rule) { r.notify = c.addresses(at, r.Notify) },
		ask:   func(v *Verdict, r *rule) { v.Notify = union(v.Notify, r.notify) }},
	{key: "headers", word: "header", argument: argFields, given: func(r *Rule) int { return len(r.Headers) },
		check: checkHeaders, ask: askHeaders, drop: func(v *Verdict) { v.Headers = nil }},
}

// many says whether the argument is a list, which has a limit.
func (a argument) many() bool { return a == argAddresses || a == argSymbols || a == argFields }

func ruleKeys() []string {
	keys := make([]string, len(ruleEffects))
	for i, e := range ruleEffects {
		keys[i] = e.key
	}

	return keys
}

func checkRedirect(c *compiler, at string, r *rule) {
	if r.RedirectTo != "" {
		r.redirect = c.address(at, r.RedirectTo)
	}
}

func askRedirect(v *Verdict, r *rule) {
	if v.RedirectTo.IsNull() {
		v.RedirectTo = r.redirect
	}
}

func askHeaders(v *Verdict, r *rule) {
	for _, h := range r.headers {
		if !slices.ContainsFunc(v.Headers, func(o HeaderField) bool { return strings.EqualFold(o.Name, h.Name) }) {
			v.Headers = append(v.Headers, h)
		}
	}
}

func union(to, more []mail.Address) []mail.Address {
	for _, a := range more {
		if !slices.ContainsFunc(to, func(b mail.Address) bool { return a.Key() == b.Key() }) {
			to = append(to, a)
		}
	}
	return to
}
