// Package eval has the functions that rules call: "header X eval:check_all_trusted()". There is one file for each plugin of
// SpamAssassin's that has such functions. A function looks at one message through a Context; what needs the network is told
// by the filters that asked it, or is not known.
package eval

import (
	"strings"
	"time"

	"postern/internal/mimeview/contents"
	"postern/rules/perlre"
	"postern/rules/views"
)

// Func is such a function. What it gives is true or false, or a count.
type Func func(c *Context, args []string) float64

// Matcher finds expressions in texts within the budget of the rule that asks.
type Matcher interface {
	Find(re *perlre.Regexp, text string) bool
	// All gives what an expression matches, up to a number: its first group where it has one.
	All(re *perlre.Regexp, text string, most int) []string
	// Budget is the one of the rule that asks.
	Budget() *perlre.Budget
}

// Lists asks the lists in the DNS. Listed gives the addresses under which a name is listed in a zone, Texts its texts; both
// give nothing for what is not known. An empty zone asks for the name itself. Dead says that a name has neither an address
// nor a mail server, and that this is known.
type Lists interface {
	Listed(name, zone string) []string
	Texts(name, zone string) []string
	Dead(name string) bool
}

// Facts are what other filters found out about a message.
type Facts struct {
	// SPF and SPFHelo are results of RFC 7208 section 2.6, "" if unknown.
	SPF, SPFHelo string
	// DKIM are the signatures; DKIMKnown says that they were verified.
	DKIM      []Signature
	DKIMKnown bool
	// ARC says whether there is a chain, ARCValid whether it holds (RFC 8617).
	ARC, ARCValid bool
	// DMARC is the result of RFC 7489 section 11.2, "" if unknown; DMARCPolicy is what the domain asks for, "" for none.
	DMARC, DMARCPolicy string
}

// Signature is a DKIM signature.
type Signature struct {
	Domain         string
	Valid, Testing bool
}

// Context is a message, and what is known about it.
type Context struct {
	Message *views.Message
	Config  *Config
	Facts   Facts
	Lists   Lists // nil if nobody asks
	Maps    Maps
	// Files are what the message carries, read when first asked for.
	Files   func() []*contents.Item
	Matcher Matcher
	Now     time.Time
	// Rule is the rule that calls, Flags are its tflags.
	Rule  string
	Flags string
	// Evidence is what a function found, where it says so.
	Evidence string

	memo map[string]any
}

// once makes a value when it is first asked for.
func once[T any](c *Context, key string, build func() T) T {
	if v, ok := c.memo[key]; ok {
		return v.(T)
	}
	if c.memo == nil {
		c.memo = map[string]any{}
	}
	v := build()
	c.memo[key] = v
	return v
}

// find matches an expression; nil never matches.
func (c *Context) find(re *perlre.Regexp, text string) bool {
	return re != nil && c.Matcher.Find(re, text)
}

// pattern compiles an expression of an argument, once for all messages.
func (c *Context) pattern(expr string) *perlre.Regexp { return c.Config.pattern(expr) }

// made compiles an expression that is made of the message: it is of no use to the next one.
func made(expr string) *perlre.Regexp {
	re, err := perlre.Compile(expr, 0)
	if err != nil {
		return nil
	}
	return re
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// arg is an argument, "" if it was not given.
func arg(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}

// text is the value of a header as in views.Spec.
func (c *Context) text(name string) string {
	v, _ := c.Message.Value(name)
	return v
}

// lower is the value in lower case.
func (c *Context) lower(name string) string { return strings.ToLower(c.text(name)) }

// Functions are all functions by name.
func Functions() map[string]Func {
	all := map[string]Func{}
	for _, table := range []map[string]Func{
		htmlFunctions(), welcomeFunctions(), headerFunctions(), forgedFunctions(), mimeFunctions(), dnsFunctions(), relayFunctions(), freemailFunctions(),
		dkimFunctions(), spfFunctions(), uriFunctions(), bodyFunctions(), bounceFunctions(), imageFunctions(), dmarcFunctions(), subjectFunctions(), hashFunctions(), mapFunctions(),
		pdfFunctions(), macroFunctions(),
	} {
		for name, f := range table {
			all[name] = f
		}
	}
	return all
}
