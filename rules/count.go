package rules

import (
	"regexp"
	"strings"

	"postern/rules/perlre"
)

// count counts the matches, up to the rule's limit.
func (m *matcher) count(r *rule, re *perlre.Regexp, t *texts) (count int, evidence string) {
	tried := false
	for i := r.firstPiece(); i < len(t.pieces) && count < r.maxHits; i++ {
		may, sure := r.scanned(t, i)
		if !may {
			continue
		}
		if sure && len(re.Names()) == 0 {
			return 1, "" // only yes or no is asked for
		}
		if tried = tried || !m.leftAlone(r); !tried {
			return 0, ""
		}
		n, found := m.countIn(r, re, t.pieces[i], r.maxHits-count)
		if count == 0 {
			evidence = found
		}
		if count += n; n > 0 && !r.multiple {
			break
		}
	}
	return count, evidence
}

// firstPiece is the first piece of a text that a rule looks at: that of a body is the subject.
func (r *rule) firstPiece() int {
	if r.kind == kindBody && r.noSubject {
		return 1
	}
	return 0
}

// scanned says what the shared scan knows of a piece: whether the rule may match there, and whether it surely does and
// nothing but yes or no is asked for.
func (r *rule) scanned(t *texts, i int) (may, sure bool) {
	if t.found == nil || !r.joined {
		return true, false
	}
	f := t.found[i]
	if !f.May(r.index) || t.again[i] && !r.multiple && r.firstPiece() == 0 {
		return false, false
	}
	return true, !r.multiple && r.hidden() && len(r.templates) == 0 && f.Sure(r.index)
}

// countIn counts the matches in one piece, up to a limit; the evidence is the first.
func (m *matcher) countIn(r *rule, re *perlre.Regexp, piece string, limit int) (count int, evidence string) {
	match, ok := re.Find(piece, 0, m.budget)
	for ok && count < limit {
		if count++; count == 1 {
			evidence = clip(piece[match.Start:match.End])
		}
		m.capture(re, match)
		if !r.multiple {
			break
		}
		match, ok = re.Next(piece, match, m.budget)
	}
	return count, evidence
}

// capture keeps the values of named groups.
func (m *matcher) capture(re *perlre.Regexp, match perlre.Match) {
	for _, name := range re.Names() {
		if v, ok := match.Named(name); ok && v != "" && len(m.tags[name]) < 50 {
			m.tags[name] = append(m.tags[name], v)
		}
	}
}

// filledIn puts the captured values into an expression, nil if one is not there.
func (m *matcher) filledIn(r *rule) *perlre.Regexp {
	expr := r.expr
	for _, name := range r.templates {
		values := m.tag(name)
		if len(values) == 0 {
			return nil
		}
		quoted := make([]string, len(values))
		for i, v := range values {
			quoted[i] = regexp.QuoteMeta(v)
		}
		expr = strings.ReplaceAll(expr, "%{"+name+"}", "(?:"+strings.Join(quoted, "|")+")")
	}
	re, err := compileExpr(expr)
	if err != nil {
		return nil
	}
	return re
}
