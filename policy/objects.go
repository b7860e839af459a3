package policy

import (
	"fmt"
	"maps"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/policy/calendar"
	"postern/rules/mapfile"
)

// who, what and window are the objects that rules name, compiled.
type who struct {
	name      string
	addresses map[string]bool // by Address.Key
	domains   map[string]bool // "example.com" or ".example.com"
	groups    []string
	networks  config.Networks
	pattern   *regexp.Regexp
	maps      []*mapfile.Map
}

type what struct {
	name         string
	symbols      []string
	names, types []string
	subject      *regexp.Regexp
	largerThan   int64
}

type window struct {
	name     string
	days     [7]bool // from Sunday
	from, to int     // minutes since midnight
	zone     calendar.Zone
}

type objects struct {
	who     map[string]*who
	what    map[string]*what
	windows map[string]*window
}

func (c *compiler) objects(zone calendar.Zone) objects {
	o := objects{map[string]*who{}, map[string]*what{}, map[string]*window{}}
	for _, name := range slices.Sorted(maps.Keys(c.cfg.Who)) {
		o.who[name] = c.who(name, c.cfg.Who[name])
	}
	for _, name := range slices.Sorted(maps.Keys(c.cfg.What)) {
		o.what[name] = c.what(name, c.cfg.What[name])
	}
	for _, name := range slices.Sorted(maps.Keys(c.cfg.Windows)) {
		o.windows[name] = c.window(name, c.cfg.Windows[name], zone)
	}
	return o
}

func (c *compiler) who(name string, w Who) *who {
	at := config.JoinKey("who", name)
	o := &who{name: name, addresses: map[string]bool{}, domains: map[string]bool{}, groups: w.Groups, networks: w.Networks}
	for i, a := range w.Addresses {
		key := pattern(a)
		if !strings.Contains(key, "@") && key != "<>" {
			c.bad(fmt.Sprintf("%s.addresses[%d]", at, i), "%q is no address; write it as in \"user@example.com\", and domains with domains = [\"example.com\"]", a)
		}
		o.addresses[key] = true
	}
	for i, d := range w.Domains {
		key := pattern(d)
		if key == "" || strings.Contains(key, "@") || key == "<>" {
			c.bad(fmt.Sprintf("%s.domains[%d]", at, i), "%q is not a domain; write \"example.com\", or \".example.com\" for all names below it", d)
		}
		o.domains[key] = true
	}
	o.pattern = c.pattern(at+".pattern", w.Pattern)
	for _, group := range w.Groups {
		c.groupName(at+".groups", group)
	}
	for i, m := range w.Maps {
		if known := c.mapNamed(fmt.Sprintf("%s.maps[%d]", at, i), m); known != nil {
			o.maps = append(o.maps, known)
		}
	}
	if len(w.Addresses)+len(w.Domains)+len(w.Groups)+len(w.Networks)+len(w.Maps) == 0 && w.Pattern == "" {
		c.bad(at, "names nobody; name addresses, domains, groups, networks, maps or a pattern")
	}
	return o
}

func (c *compiler) pattern(key, text string) *regexp.Regexp {
	if text == "" {
		return nil
	}
	if len(text) > 1000 {
		c.bad(key, "has %d octets, 1000 are the limit; part it", len(text))
		return nil
	}
	r, err := regexp.Compile(text)
	if err != nil {
		c.bad(key, "is not a regular expression: %v; write it as in \"^invoice-\"", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return r
}

func (c *compiler) what(name string, w What) *what {
	at := config.JoinKey("what", name)
	for i, s := range w.Symbols {
		c.symbolKey(fmt.Sprintf("%s.symbols[%d]", at, i), s)
	}
	o := &what{name: name, symbols: w.Symbols, largerThan: int64(w.LargerThan), subject: c.pattern(at+".subject_pattern", w.SubjectPattern)}
	for _, list := range []struct {
		key  string
		from []string
		to   *[]string
	}{{"attachment_names", w.AttachmentNames, &o.names}, {"attachment_types", w.AttachmentTypes, &o.types}} {
		for i, glob := range list.from {
			glob = strings.ToLower(glob)
			if _, err := path.Match(glob, ""); err != nil || glob == "" {
				c.bad(fmt.Sprintf("%s.%s[%d]", at, list.key, i), "%q is not a pattern; write it as in \"*.docm\" or \"image/*\"", glob)
			}
			*list.to = append(*list.to, glob)
		}
	}
	if w.LargerThan < 0 {
		c.bad(at+".larger_than", "is below 0; write a size, as in \"10MB\"")
	}
	if len(w.Symbols)+len(w.AttachmentNames)+len(w.AttachmentTypes) == 0 && w.SubjectPattern == "" && w.LargerThan == 0 {
		c.bad(at, "names nothing; name symbols, attachment_names, attachment_types, subject_pattern or larger_than")
	}
	return o
}

func (c *compiler) window(name string, w Window, zone calendar.Zone) *window {
	at := config.JoinKey("time", name)
	o := &window{name: name, to: 24 * 60, zone: zone}
	var err error
	if w.Timezone != "" {
		if o.zone, err = calendar.LoadZone(w.Timezone); err != nil {
			c.bad(at+".timezone", "%v", err)
		}
	}
	for _, clock := range []struct {
		key, text string
		to        *int
	}{{".from", w.From, &o.from}, {".to", w.To, &o.to}} {
		if clock.text == "" {
			continue
		}
		if *clock.to, err = calendar.Clock(clock.text); err != nil {
			c.bad(at+clock.key, "%v", err)
		}
	}
	if o.from == o.to {
		c.bad(at, "ends when it begins; leave from and to out for the whole day")
	}
	for i, day := range w.Days {
		n, err := calendar.Weekday(day)
		if err != nil {
			c.bad(fmt.Sprintf("%s.days[%d]", at, i), "%v", err)
		}
		o.days[n] = true
	}
	if len(w.Days) == 0 {
		o.days = [7]bool{true, true, true, true, true, true, true}
	}
	return o
}

// party is one address that a message speaks of, in the forms in which objects know it: none for the null sender.
type party struct{ key, domain string }

func partyOf(a mail.Address) party {
	if a.IsNull() {
		return party{}
	}
	return party{a.Key(), a.ASCIIDomain()}
}

// fits reports whether one of the parties matches, and whether by the client's network.
func (w *who) fits(parties []party, client netip.Addr, groups map[string][]string) (fits, byNetwork bool) {
	if client.IsValid() && w.networks.Contains(client) {
		return true, true
	}
	for _, p := range parties {
		if w.addresses[p.key] || p.key == "" && w.addresses["<>"] || w.domains[p.domain] && p.domain != "" || w.below(p.domain) {
			return true, false
		}
		if len(w.groups) > 0 && slices.ContainsFunc(groups[p.key], w.group) {
			return true, false
		}
		if w.pattern != nil && w.pattern.MatchString(p.key) {
			return true, false
		}
	}
	return false, false
}

func (w *who) group(name string) bool { return isMember(w.groups, name) }

// isMember compares as directories do: RFC 4519 section 2.3, a name's case does not matter.
func isMember(groups []string, name string) bool {
	return slices.ContainsFunc(groups, func(g string) bool { return strings.EqualFold(g, name) })
}

func (w *who) below(domain string) bool {
	for len(w.domains) > 0 {
		i := strings.IndexByte(domain, '.')
		if i < 0 {
			return false
		}
		if i > 0 && w.domains[domain[i:]] {
			return true
		}
		domain = domain[i+1:]
	}
	return false
}

func (w *what) fits(f *Facts) bool {
	switch {
	case len(w.symbols) > 0 && !slices.ContainsFunc(f.Findings, func(found Finding) bool { return slices.Contains(w.symbols, found.Symbol) }),
		w.largerThan > 0 && f.Size <= w.largerThan,
		w.subject != nil && !w.subject.MatchString(f.Subject):
		return false
	}
	return len(w.names)+len(w.types) == 0 || slices.ContainsFunc(f.Attachments, w.attachment)
}

func (w *what) attachment(a Attachment) bool {
	one := func(globs []string, text string) bool {
		return len(globs) == 0 || slices.ContainsFunc(globs, func(g string) bool {
			ok, err := path.Match(g, text)
			return ok && err == nil
		})
	}
	// a name is no path here: "*" is to stand for a slash in it as well
	return one(w.names, strings.ToLower(strings.ReplaceAll(a.Name, "/", "_"))) && one(w.types, strings.ToLower(a.Type))
}

func (w *window) fits(at calendar.Minute) bool {
	if at == 0 {
		return false
	}
	now := at.In(w.zone)
	if w.from < w.to {
		return w.days[now.Day] && now.Minute >= w.from && now.Minute < w.to
	}
	// over midnight: the small hours belong to the day before
	return w.days[now.Day] && now.Minute >= w.from || w.days[(now.Day+6)%7] && now.Minute < w.to
}
