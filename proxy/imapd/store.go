package imapd

import (
	"strings"

	"postern/proxy/imapd/wire"
)

// store passes STORE on: RFC 9051 section 6.4.6. A user may say by it what is junk.
func (s *session) store(c *wire.Command, p *pending) error {
	t, err := s.learnFlags(c)
	if err != nil {
		return err
	}
	p.completed = func(status, code, args string) { s.teach(t, status, code, args) }
	return s.forward(c, p)
}

// flagChange is a STORE that has to do with junk.
type flagChange struct {
	set       wire.Set
	sign      byte // '+', '-', or '=' for all flags anew
	junk, ham bool // it names such a flag
}

// behindModifiers gives the first token behind the modifiers: RFC 7162 section 3.1.3.
func behindModifiers(l *wire.Lexer) (t wire.Token, ok bool) {
	if t = l.Next(); t.Kind != wire.Open {
		return t, true
	}
	for t.Kind != wire.Close {
		if t = l.Next(); isLast(t) {
			return t, false
		}
	}
	return l.Next(), true
}

// isLast says whether no token follows.
func isLast(t wire.Token) bool { return t.Kind == wire.End || t.Kind == wire.Bad }

// parseStore reads the arguments of STORE; ok is false if they have nothing to do with junk.
func parseStore(l *wire.Lexer) (f flagChange, ok bool) {
	text, good := l.AString()
	if f.set, ok = wire.ParseSet(text); !good || !ok {
		return f, false
	}
	t, ok := behindModifiers(l)
	if !ok {
		return f, false
	}
	name := strings.TrimSuffix(strings.ToUpper(t.Text), ".SILENT")
	switch name {
	case "+FLAGS", "-FLAGS":
		f.sign = name[0]
	case "FLAGS":
		f.sign = '='
	default:
		return f, false
	}
	for t = l.Next(); !isLast(t); t = l.Next() {
		junk, ham := junkFlag(t.Text)
		f.junk, f.ham = f.junk || junk, f.ham || ham
	}
	return f, f.junk || f.ham
}

// junkFlag says which way a flag points. IANA registers $Junk and $NotJunk; the others are those that mail programs used
// before.
func junkFlag(flag string) (junk, ham bool) {
	switch strings.ToLower(flag) {
	case "$junk", "junk":
		return true, false
	case "$notjunk", "notjunk", "nonjunk":
		return false, true
	}
	return false, false
}

// applied gives the flags as they are after the change.
func (f flagChange) applied(junk, ham bool) (junkAfter, hamAfter bool) {
	switch f.sign {
	case '+':
		return junk || f.junk, ham || f.ham
	case '-':
		return junk && !f.junk, ham && !f.ham
	}
	return f.junk, f.ham
}

// says is what the change says of a message with these flags.
func (f flagChange) says(before []string) says {
	var junk, ham bool
	for _, flag := range before {
		j, h := junkFlag(flag)
		junk, ham = junk || j, ham || h
	}
	was := meaning(junk, ham)
	is := meaning(f.applied(junk, ham))
	switch {
	case is == was:
		return nothing
	case is != nothing:
		return is
	case was == isSpam:
		return notSpam
	}
	return notHam
}

// meaning is what flags mean: both are as none.
func meaning(junk, ham bool) says {
	switch {
	case junk && !ham:
		return isSpam
	case ham && !junk:
		return isHam
	}
	return nothing
}
