package rules

import (
	"slices"
	"strconv"
	"strings"

	"postern/rules/views"
)

// details says whether a link satisfies all conditions of a rule.
func (m *matcher) details(r *rule) float64 {
	for _, u := range m.message.Links() {
		if !slices.ContainsFunc(r.details, func(d detail) bool { return !m.satisfies(u, d) }) {
			return 1
		}
	}
	return 0
}

func (m *matcher) satisfies(u *views.URI, d detail) bool {
	for _, text := range d.of(u) {
		if m.Find(d.re, text) != d.negate {
			return true
		}
	}
	return false
}

// partHeaders looks for an expression in the headers of all parts.
func (m *matcher) partHeaders(r *rule, o *outcome) {
	first, last := partRange(r.flags)
	values := m.partValues(r, first, last)
	most := 1
	if r.multiple {
		most = min(r.maxHits, 1000)
	}
	count := 0
	for _, v := range values {
		match, ok := r.re.Find(v, 0, m.budget)
		if r.negate {
			if ok {
				return
			}
			continue
		}
		for n := 0; ok && n < most; n++ {
			if count++; count == 1 {
				o.evidence = clip(v[match.Start:match.End])
			}
			m.capture(r.re, match)
			match, ok = r.re.Next(v, match, m.budget)
		}
		if count > 0 {
			break // the first part that has it
		}
	}
	if r.negate {
		count = 1
	}
	if !r.multiple {
		count = min(count, 1)
	}
	o.value = float64(count)
}

// partValues are the values of the field in each part.
func (m *matcher) partValues(r *rule, first, last int) []string {
	var values []string
	for i, p := range m.parts() {
		if i+1 < first || i+1 > last {
			continue
		}
		value, ok := partValue(p, r.spec)
		if !ok {
			value = r.unset
		}
		values = append(values, value)
	}
	if !r.flag("concat") {
		return values
	}
	for i, v := range values {
		if !strings.HasSuffix(v, "\n") {
			values[i] = v + "\n"
		}
	}
	return []string{strings.Join(values, "")}
}

func partValue(p *views.Part, spec views.Spec) (string, bool) {
	if spec.Name == "ALL" {
		return strings.Join(p.All(spec.Raw), ""), true
	}
	if spec.Raw {
		all := p.RawValues(spec.Name)
		if len(all) == 0 {
			return "", true
		}
		return all[len(all)-1], true
	}
	value, ok := p.Last(spec.Name)
	if ok {
		value += "\n"
	}
	return value, ok
}

// partRange reads range=a-b of the flags.
func partRange(flags string) (first, last int) {
	first, last = 0, 1000
	for f := range strings.FieldsSeq(flags) {
		text, ok := strings.CutPrefix(f, "range=")
		if !ok {
			continue
		}
		low, high, dash := strings.Cut(text, "-")
		if n, err := strconv.Atoi(low); err == nil {
			first = n
			if !dash {
				last = n
			}
		}
		if n, err := strconv.Atoi(high); err == nil {
			last = n
		}
	}
	return first, last
}

// askDNS looks a name up that a rule makes of what is known of the message.
func (m *matcher) askDNS(r *rule) float64 {
	if m.in.Lists == nil {
		return 0
	}
	names := []string{r.query.name}
	for _, tag := range r.query.tags {
		var more []string
		for _, n := range names {
			for _, v := range m.queryValues(tag) {
				if len(more) < 20 {
					more = append(more, strings.ReplaceAll(n, "_"+tag+"_", v))
				}
			}
		}
		names = more
	}
	for _, n := range names {
		host, zone := splitQuery(n, r.query.name)
		answers := m.in.Lists.Listed(host, zone)
		if r.query.kind == "TXT" {
			answers = m.in.Lists.Texts(host, zone)
		}
		if r.query.test.Any(answers) {
			return 1
		}
	}
	return 0
}

// splitQuery parts a name from the zone behind the last tag.
func splitQuery(name, pattern string) (host, zone string) {
	i := strings.LastIndex(pattern, "_.")
	if i < 0 {
		return name, ""
	}
	zone = pattern[i+2:]
	return strings.TrimSuffix(strings.TrimSuffix(name, zone), "."), zone
}

// queryValues are the values of a tag in a name.
func (m *matcher) queryValues(tag string) []string {
	if name, ok := strings.CutPrefix(tag, "HEADER("); ok {
		return m.message.Get(strings.TrimSuffix(name, ")"))
	}
	path := m.message.Path()
	switch tag {
	case "RELAYSTRUSTEDREVIP", "RELAYSUNTRUSTEDREVIP", "RELAYSINTERNALREVIP", "RELAYSEXTERNALREVIP":
		list := map[string][]string{}
		for _, r := range path.External {
			list["RELAYSEXTERNALREVIP"] = append(list["RELAYSEXTERNALREVIP"], r.Reversed()...)
		}
		for _, r := range path.Untrusted {
			list["RELAYSUNTRUSTEDREVIP"] = append(list["RELAYSUNTRUSTEDREVIP"], r.Reversed()...)
		}
		for _, r := range path.Trusted {
			list["RELAYSTRUSTEDREVIP"] = append(list["RELAYSTRUSTEDREVIP"], r.Reversed()...)
		}
		for _, r := range path.Internal {
			list["RELAYSINTERNALREVIP"] = append(list["RELAYSINTERNALREVIP"], r.Reversed()...)
		}
		return list[tag]
	case "LASTEXTERNALREVIP", "LASTEXTERNALIP", "LASTEXTERNALHELO", "LASTEXTERNALRDNS":
		if len(path.External) == 0 {
			return nil
		}
		r := path.External[0]
		switch tag {
		case "LASTEXTERNALREVIP":
			return r.Reversed()
		case "LASTEXTERNALIP":
			return []string{r.IP}
		case "LASTEXTERNALHELO":
			return []string{r.Helo}
		}
		return []string{r.RDNS}
	case "DKIMDOMAIN":
		var domains []string
		for _, s := range m.in.Facts.DKIM {
			if s.Valid {
				domains = append(domains, s.Domain)
			}
		}
		return domains
	}
	return m.tag(tag)
}
