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

// parseStore reads the arguments of STORE; ok is false if they have nothing to do with junk.
func parseStore(l *wire.Lexer) (f flagChange, ok bool) {
	text, good := l.AString()
	if f.set, ok = wire.ParseSet(text); !good || !ok {
		return f, false
	}
	t := l.Next()
	if t.Kind == wire.Open { // RFC 7162 section 3.1.3: modifiers
		for t.Kind != wire.Close {
			if t = l.Next(); t.Kind == wire.End || t.Kind == wire.Bad {
				return f, false
			}
		}
		t = l.Next()
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
	for t = l.Next(); t.Kind != wire.End && t.Kind != wire.Bad; t = l.Next() {
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

// says is what the change says of a message with these flags.
func (f flagChange) says(before []string) says {
	var junk, ham bool
	for _, flag := range before {
		j, h := junkFlag(flag)
		junk, ham = junk || j, ham || h
	}
	was := meaning(junk, ham)
	switch f.sign {
	case '+':
		junk, ham = junk || f.junk, ham || f.ham
	case '-':
		junk, ham = junk && !f.junk, ham && !f.ham
	default:
		junk, ham = f.junk, f.ham
	}
	is := meaning(junk, ham)
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
