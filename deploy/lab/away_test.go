package lab_test

import (
	"fmt"
	"testing"

	"postern/internal/testing/dovecottest"
	"postern/internal/testing/lab"
	"postern/internal/testing/pgtest"
)

// Mail programs that fetch and delete while the database is away, and once it is back: every original stands somewhere, and
// the bad one is with no program.
func TestNoOriginalIsLostWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	for _, c := range deleters() {
		lab.Need(t, c.program, c.program)
	}
	for name, c := range map[string]struct{ lose, find func(*pgtest.Server) }{
		"stopped": {(*pgtest.Server).Stop, (*pgtest.Server).Restart},
		"stalled": {(*pgtest.Server).Freeze, (*pgtest.Server).Continue},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := pgtest.Start(t)
			server := dovecottest.Start(t, dovecottest.Options{Performance: true})
			dir := lab.Dir(t)
			imap, imaps, pop3, pop3s := lab.FreePort(t), lab.FreePort(t), lab.FreePort(t), lab.FreePort(t)
			p := lab.NewPostern(t, program, accessSettings(t, server, dir, [4]string{imap, imaps, pop3, pop3s}, fmt.Sprintf("[database]\nurl = %q\n", database.URL)))
			p.Start(t)
			l := &losses{t, server, p, dir, imap, pop3}
			c.lose(database)
			visits := l.run("away", false)
			l.stands("the database is "+name, visits, "")
			for program, v := range visits {
				with := originals(t, v.user, v.dir)
				if with[2] {
					t.Errorf("%s: the bad one is with the program", program)
				}
				if lib := program == "imaplib" || program == "poplib"; lib && (!with[1] || !with[3]) {
					t.Errorf("%s: reading waits for the database: it has %v", program, with)
				}
			}
			c.find(database)
			l.stands("the database is back", l.run("away", true), "masked")
			l.stands("all is well", l.run("back", false), "masked")
			if t.Failed() {
				t.Log(p.Log())
			}
		})
	}
}
