package policy

import (
	"encoding/hex"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// GroupName is the name of a group whose DN a directory gives: the value of its first part, as people call it. What is no
// DN is a name already. RFC 4514 section 2.4: a comma that belongs to a value has a backslash before it.
func GroupName(value string) (name string, isDN bool) {
	end, escaped := len(value), false
	for i := range len(value) {
		if !escaped && (value[i] == ',' || value[i] == '+') {
			end = i
			break
		}
		escaped = !escaped && value[i] == '\\'
	}
	kind, name, named := strings.Cut(value[:end], "=")
	switch kind = strings.TrimSpace(kind); {
	case !named || kind == "" || strings.TrimSpace(name) == "":
		return value, false
	case end < len(value) && strings.Contains(value[end:], "="), strings.EqualFold(kind, "cn"):
		return unescape(strings.TrimSpace(name)), true
	}
	return value, false
}

// unescape reads a value of a DN: RFC 4514 section 3. A backslash stands before an octet in hex, or before a character.
func unescape(value string) string {
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] != '\\' || i+1 == len(value) {
			b.WriteByte(value[i])
			continue
		}
		i++
		if i+1 < len(value) {
			if octet, err := hex.DecodeString(value[i : i+2]); err == nil {
				b.Write(octet)
				i++
				continue
			}
		}
		b.WriteByte(value[i])
	}
	return b.String()
}

// groupName refuses the whole DN of a group, which never fits: groups are known by their names.
func (c *compiler) groupName(path, group string) {
	if name, isDN := GroupName(group); isDN {
		c.bad(path, "%.80q is a DN, and never fits; write the group's name alone, %.80q", group, name)
	}
}

// conditionGroups refuses DNs that a condition looks for in groups.
func (c *compiler) conditionGroups(key string, i int, when string, checked *cel.Ast) {
	rep := checked.NativeRep()
	refuse := func(e ast.Expr) {
		if e.Kind() != ast.LiteralKind || e.AsLiteral().Type() != types.StringType {
			return
		}
		if name, isDN := GroupName(string(e.AsLiteral().(types.String))); isDN {
			c.misread(key, i, when, []*common.Error{{Location: rep.SourceInfo().GetStartLocation(e.ID()),
				Message: "a DN is never among groups; write the group's name alone, \"" + name + "\""}})
		}
	}
	for _, n := range ast.MatchDescendants(ast.NavigateAST(rep), ast.FunctionMatcher(operators.In)) {
		if args := n.AsCall().Args(); len(args) == 2 && args[1].Kind() == ast.IdentKind && args[1].AsIdent() == "groups" {
			refuse(args[0])
		}
	}
}
