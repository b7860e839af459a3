package policy

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"postern/internal/config"
	"postern/policy/calendar"
	"postern/rules/mapfile"
	"postern/rules/perlre"
)

// Maps in conditions: in_map(from, "vips") becomes a call with the day of the message as well, if an entry expires.
const (
	mapCall = "@in_map"
	utcDay  = "time.utc"
)

// dayOf is the day of a message in UTC, by which entries of maps expire. Of an unknown time no entry that expires holds.
func dayOf(at calendar.Minute) string {
	if at == 0 {
		return "9999-12-31"
	}
	return at.In(calendar.Zone{}).Date
}

// mapMacro checks at once that the map exists.
func mapMacro(tables mapfile.Set) cel.Macro {
	return cel.GlobalMacro("in_map", 2, func(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *common.Error) {
		name := args[1]
		if name.Kind() != ast.LiteralKind || name.AsLiteral().Type() != types.StringType {
			return nil, f.NewError(name.ID(), `in_map() wants a map's name in quotes; write it as in in_map(from, "vips")`)
		}
		m, ok := tables[string(name.AsLiteral().(types.String))]
		if !ok {
			text := fmt.Sprintf("there is no map %.60q; %s", name.AsLiteral().Value(), nearestMap(string(name.AsLiteral().(types.String)), tables))
			return nil, f.NewError(name.ID(), text)
		}
		day := f.NewLiteral(types.String(""))
		if m.Expires() {
			day = f.NewIdent(utcDay)
		}
		return f.NewCall(mapCall, args[0], name, day), nil
	})
}

func nearestMap(name string, tables mapfile.Set) string {
	if near := config.Nearest(name, slices.Sorted(maps.Keys(tables))); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return fmt.Sprintf("name its file in postern.toml, with [%s] file = \"…\"", config.JoinKey("maps", name))
}

func mapFunction(tables mapfile.Set) cel.EnvOption {
	text := cel.StringType
	find := func(args ...ref.Val) ref.Val {
		m := tables[string(args[1].(types.String))]
		day, budget := string(args[2].(types.String)), perlre.NewBudget(mapfile.Steps)
		for _, value := range textsOf(args[0]) {
			if _, ok := m.Find(value, day, budget); ok {
				return types.True
			}
			if budget.Exhausted() {
				return types.NewErr("an expression of the map %s takes too long", m.Name())
			}
		}
		return types.False
	}
	return cel.Function(mapCall,
		cel.Overload("in_map_string", []*cel.Type{text, text, text}, cel.BoolType, cel.FunctionBinding(find)),
		cel.Overload("in_map_list", []*cel.Type{cel.ListType(text), text, text}, cel.BoolType, cel.FunctionBinding(find)))
}

// textsOf are a text, or those of a list.
func textsOf(v ref.Val) (texts []string) {
	if text, ok := v.(types.String); ok {
		return []string{string(text)}
	}
	list, ok := v.(traits.Lister)
	if !ok {
		return nil
	}
	for i := list.Iterator(); i.HasNext() == types.True; {
		if text, ok := i.Next().(types.String); ok {
			texts = append(texts, string(text))
		}
	}
	return texts
}

// mapNamed is the map of a name, nil with a problem if there is none.
func (c *compiler) mapNamed(key, name string) *mapfile.Map {
	m, ok := c.cfg.Maps[name]
	if !ok {
		c.bad(key, "there is no map %.60q; %s", name, nearestMap(name, c.cfg.Maps))
	}
	return m
}

// is says whether an object means one of the parties or the client, and whether by the client's network.
func (q *question) is(w *who, parties []party, client netip.Addr) (fits, byNetwork bool) {
	if fits, byNetwork = w.fits(parties, client, q.f.Groups); fits || len(w.maps) == 0 {
		return fits, byNetwork
	}
	day, budget := dayOf(q.f.Time), perlre.NewBudget(mapfile.Steps)
	for _, m := range w.maps {
		if client.IsValid() {
			if e, ok := m.Find(client.String(), day, budget); ok {
				return true, e.Network()
			}
		}
		for _, p := range parties {
			if _, ok := m.Find(p.key, day, budget); ok {
				return true, false
			}
		}
		if budget.Exhausted() {
			q.slow = m.Name()
		}
	}
	return false, false
}

// slowMap is the error of a question that a map took too long for.
func (q *question) slowMap() error {
	if q.slow == "" {
		return nil
	}
	return fmt.Errorf("an expression of the map %s takes too long", q.slow)
}
