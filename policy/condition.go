package policy

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"

	"postern/filters"
	"postern/internal/config"
	"postern/rules/mapfile"
)

// Bounds of a condition. A unit of cost is about one comparison, or ten characters looked at.
const (
	maxWhen      = 4000 // octets
	maxCost      = 200_000
	cheap        = 5000   // what can't cost more is not counted when it is asked
	maxRegexSize = 10_000 // instructions of the compiled expression
	maxNesting   = 1
	maxSymbols   = 1000 // there are fewer in all
)

// condition is the compiled `when` of a rule.
type condition struct {
	program cel.Program
	// constant is 1 for a condition that always holds, -1 for one that never does.
	constant int
	// names are the variables that it reads; timed says that the time is among them.
	names map[string]bool
	timed bool
	// early says that all of them are known once there is a recipient.
	early bool
}

// conditions makes the language of conditions: CEL, with our names.
func conditions(known map[string]filters.Symbol, tables mapfile.Set) (*cel.Env, error) {
	list, double := cel.ListType(cel.StringType), cel.DoubleType
	options := []cel.EnvOption{
		cel.CrossTypeNumericComparisons(true), ext.Strings(ext.StringsValidateFormatCalls(true)),
		ext.NativeTypes(reflect.TypeFor[Attachment](), ext.ParseStructTags(true)),
		cel.ClearMacros(), cel.Macros(symbolMacro("has", known, hasSymbol), symbolMacro("weight", known, weightOfSymbol), mapMacro(tables),
			cel.AllMacro, cel.ExistsMacro, cel.ExistsOneMacro, cel.FilterMacro, cel.MapMacro),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateRegexProgramSizeLimit(maxRegexSize),
			cel.ValidateComprehensionNestingLimit(maxNesting)),
		cel.Function("in_network", cel.Overload("in_network_string_string", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType,
			cel.BinaryBinding(inNetwork))),
		mapFunction(tables), cel.Variable(utcDay, cel.StringType),
		cel.Variable("symbols", cel.MapType(cel.StringType, double)), cel.Variable("score", double),
		cel.Variable("attachments", cel.ListType(cel.ObjectType("policy.Attachment"))),
		cel.Variable("size", cel.IntType), cel.Variable("time.hour", cel.IntType), cel.Variable("time.minute", cel.IntType),
	}
	for _, name := range []string{"direction", "stage", "client", "from", "from_domain", "user", "rcpt", "rcpt_domain", "subject", "message_id",
		"list_id", "reply_to", "time.weekday", "time.date"} {
		options = append(options, cel.Variable(name, cel.StringType))
	}
	for _, name := range []string{"header_from", "header_from_domains", "groups", "authenticated"} {
		options = append(options, cel.Variable(name, list))
	}
	return cel.NewEnv(options...)
}

// symbolMacro makes a function of a symbol's name, and checks at once that the symbol exists.
func symbolMacro(name string, known map[string]filters.Symbol, build func(cel.MacroExprFactory, ast.Expr) ast.Expr) cel.Macro {
	return cel.GlobalMacro(name, 1, func(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *common.Error) {
		arg := args[0]
		if arg.Kind() != ast.LiteralKind || arg.AsLiteral().Type() != types.StringType {
			return nil, f.NewError(arg.ID(), name+`() wants a symbol in quotes; write it as in `+name+`("R_SPF_FAIL")`)
		}
		symbol := string(arg.AsLiteral().(types.String))
		if _, ok := known[symbol]; !ok {
			return nil, f.NewError(arg.ID(), fmt.Sprintf("no filter reports %.60q; %s", symbol, nearestSymbol(symbol, known)))
		}
		return build(f, arg), nil
	})
}

func hasSymbol(f cel.MacroExprFactory, symbol ast.Expr) ast.Expr {
	return f.NewCall(operators.In, symbol, f.NewIdent("symbols"))
}

func weightOfSymbol(f cel.MacroExprFactory, symbol ast.Expr) ast.Expr {
	return f.NewCall(operators.Conditional, hasSymbol(f, symbol),
		f.NewCall(operators.Index, f.NewIdent("symbols"), f.Copy(symbol)), f.NewLiteral(types.Double(0)))
}

func inNetwork(address, network ref.Val) ref.Val {
	n, err := config.ParseNetwork(string(network.(types.String)))
	if err != nil {
		return types.NewErr("%v", err)
	}
	a, err := netip.ParseAddr(string(address.(types.String)))
	return types.Bool(err == nil && n.Contains(a.Unmap()))
}

// condition compiles the `when` of the i-th rule.
func (c *compiler) condition(env *cel.Env, i int, when string) condition {
	key := fmt.Sprintf("rule[%d].when", i)
	if len(when) > maxWhen {
		c.bad(key, "has %d octets, %d are the limit; part the rule", len(when), maxWhen)
		return condition{}
	}
	checked, issues := env.Compile(when)
	if issues.Err() != nil {
		c.misread(key, i, when, issues.Errors())
		return condition{}
	}
	root := ast.NavigateAST(checked.NativeRep())
	if checked.OutputType() != cel.BoolType {
		c.misread(key, i, when, []*common.Error{{Location: common.NewLocation(1, 0),
			Message: "is " + cel.FormatCELType(checked.OutputType()) + `, neither true nor false; compare it, as in "score > 3"`}})
		return condition{}
	}
	found := condition{names: map[string]bool{}}
	for _, n := range ast.MatchDescendants(root, ast.KindMatcher(ast.IdentKind)) {
		found.names[n.AsIdent()] = true
	}
	for name := range found.names { // "time.hour" is one name by now
		found.timed = found.timed || strings.HasPrefix(name, "time.")
	}
	found.early = knownEarly(found.names)
	c.networks(key, i, when, checked)
	c.conditionGroups(key, i, when, checked)
	if root.Kind() == ast.LiteralKind {
		found.constant = -1
		if root.AsLiteral() == types.True {
			found.constant = 1
		}
	}
	found.program = c.program(env, key, checked)
	return found
}

// knownEarly says whether all of the names are known before there is a message. Groups and times may not be.
func knownEarly(names map[string]bool) bool {
	early := map[string]bool{"direction": true, "client": true, "from": true, "from_domain": true, "rcpt": true, "rcpt_domain": true, "user": true}
	for name := range names {
		if !early[name] {
			return false
		}
	}
	return true
}

// program makes a condition ready to run, unless it could cost too much.
func (c *compiler) program(env *cel.Env, key string, checked *cel.Ast) cel.Program {
	estimate, err := env.EstimateCost(checked, sizes{})
	if err != nil {
		c.bad(key, "can't be weighed: %v; write it more simply", err)
		return nil
	}
	if estimate.Max > maxCost {
		c.bad(key, "could take too long: its cost may be more than %d; look at less, or part the rule", maxCost)
		return nil
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if estimate.Max > cheap { // to count costs takes longer than what is cheap for sure
		options = append(options, cel.CostLimit(maxCost))
	}
	program, err := env.Program(checked, options...)
	if err != nil {
		c.bad(key, "can't be made ready: %v; write it more simply", err)
	}
	return program
}

// networks looks at the networks that are written in a condition.
func (c *compiler) networks(key string, i int, when string, checked *cel.Ast) {
	rep := checked.NativeRep()
	for _, n := range ast.MatchDescendants(ast.NavigateAST(rep), ast.FunctionMatcher("in_network")) {
		arg := n.AsCall().Args()[1]
		if arg.Kind() != ast.LiteralKind {
			continue
		}
		if _, err := config.ParseNetwork(string(arg.AsLiteral().(types.String))); err != nil {
			c.misread(key, i, when, []*common.Error{{Location: rep.SourceInfo().GetStartLocation(arg.ID()), Message: err.Error()}})
		}
	}
}

// misread reports what is wrong in a condition, with its place in the file.
func (c *compiler) misread(key string, i int, when string, found []*common.Error) {
	for _, e := range found[:min(len(found), 5)] {
		line, column := c.cfg.lines.Line(key), 0
		if p, ok := c.cfg.whens[i]; ok {
			line, column = p.place(when, e.Location.Line(), max(e.Location.Column(), 0))
		}
		text, remedy, ok := strings.Cut(e.Message, "; ")
		if !ok {
			text, remedy = plain(text)
		}
		if column > 0 {
			text = fmt.Sprintf("column %d, in %q: %s", column, c.cfg.Rules[i].Name, text)
		}
		c.problems = append(c.problems, config.Problem{File: c.cfg.file, Line: line, Key: key, Text: text, Remedy: remedy})
	}
}

// plain translates CEL's errors into ours, with a remedy.
func plain(text string) (string, string) {
	text, _, _ = strings.Cut(text, " (in container")
	head, hint, _ := strings.Cut(text, " (did you mean ")
	switch {
	case strings.HasPrefix(text, "Syntax error: "):
		text, _, _ = strings.Cut(strings.TrimPrefix(text, "Syntax error: "), " expecting ")
		return strings.Replace(text, "mismatched input '<EOF>'", "it ends too early", 1), "see the examples of conditions in docs/policy.md"
	case hint != "":
		return head, "did you mean " + strings.TrimSuffix(hint, ")")
	case strings.HasPrefix(text, "undeclared reference"):
		return text, "docs/policy.md lists what a condition can ask for; text stands in quotes"
	case strings.HasSuffix(text, "(double, int)'"), strings.HasSuffix(text, "(int, double)'"):
		return text, "scores are compared for equality with a point, as in score == 2.0; < and > need none"
	case strings.HasPrefix(text, "found no matching overload"):
		return text, "compare things of one kind: text with text in quotes, numbers with numbers, `in` with a list"
	}
	switch {
	case strings.HasPrefix(text, "undefined field"):
		return text, "an attachment has name, type and size"
	case strings.HasPrefix(text, "invalid matches argument"):
		return "is not a regular expression", `write it as in subject.matches("(?i)^invoice"), and a backslash twice in double quotes`
	case strings.Contains(text, "limit exceeded"), strings.Contains(text, "recursion depth exceeded"):
		return text, "write it more simply, or part the rule"
	case strings.HasPrefix(text, "comprehension exceeds nesting limit"):
		return "looks at each of a list for each of a list", "all, exists, exists_one, filter and map can't stand within each other"
	}
	return text, "see docs/policy.md for conditions"
}

// sizes are the most that each variable can hold, for the estimate of what a condition can cost.
type sizes struct{}

// EstimateSize gives the bound that Policy.FactsOf and activation keep.
func (sizes) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	path := n.Path()
	if len(path) == 0 {
		return nil
	}
	limit := uint64(maxFact)
	if len(path) == 1 {
		switch path[0] {
		case "attachments", "header_from", "header_from_domains", "groups", "authenticated":
			limit = maxAttachments
		case "symbols":
			limit = maxSymbols
		}
	}
	return &cost.SizeEstimate{Max: limit}
}

// EstimateCallCost leaves functions to CEL, but for our own.
func (sizes) EstimateCallCost(function, _ string, _ *cost.AstNode, _ []cost.AstNode) *cost.CallEstimate {
	switch function {
	case "in_network":
		return &cost.CallEstimate{CostEstimate: cost.FixedCostEstimate(20)}
	case mapCall:
		return &cost.CallEstimate{CostEstimate: cost.FixedCostEstimate(3000)}
	}
	return nil
}
