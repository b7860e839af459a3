package imapd

import (
	"testing"

	"postern/proxy/imapd/wire"
)

// Which mailboxes are junk and trash: what the settings say, then what the server says, then what they are called.
func TestFolders(t *testing.T) {
	var named, told folders
	for _, line := range []string{`(\HasNoChildren \Junk) "/" Quarant&AOQ-ne`, `(\trash) NIL "Old"`, `(\Sent) "/" Sent`, `(\Junk "/" x`, `\Junk x`, `(\Junk) "/" (`, ``} {
		told.take([]byte(line + "\r\n"))
	}
	for _, c := range []struct {
		f    *folders
		name string
		junk []string
		want kind
	}{
		{&named, "Junk", nil, junkBox}, {&named, "INBOX.spam", nil, junkBox}, {&named, "inbox/Junk E-mail", nil, junkBox}, {&named, "[Gmail]/Spam", nil, junkBox},
		{&named, "Courrier ind&AOk-sirable", nil, junkBox}, {&named, "Work/Junk", nil, plainBox}, {&named, "Papierkorb", nil, trashBox},
		{&named, "INBOX", nil, plainBox}, {&named, "Junk", []string{"Bad"}, plainBox}, {&named, "Bad", []string{"Bad"}, junkBox}, {&named, "Trash", []string{"Bad"}, trashBox},
		{&told, "Quarant&AOQ-ne", nil, junkBox}, {&told, "Quarantäne", nil, junkBox}, {&told, "Junk", nil, plainBox}, {&told, "Old", nil, trashBox},
		{&told, "Trash", nil, plainBox}, {&told, "Quarantäne", []string{"Bad"}, plainBox}, {&told, "Sent", nil, plainBox},
	} {
		if got := c.f.kind(c.name, c.junk); got != c.want {
			t.Errorf("%q, %q: %d, want %d", c.name, c.junk, got, c.want)
		}
	}
}

func FuzzFolders(f *testing.F) {
	f.Add(`(\Junk) "/" "a b"`)
	f.Add("(\\Junk) NIL {3}\r\na b")
	f.Add(`(\Trash) "/" &AOQ-`)
	f.Fuzz(func(t *testing.T, text string) {
		var all folders
		for range 2 * maxSpecial {
			all.take([]byte(text))
		}
		if len(all.junk)+len(all.trash) > 1 {
			t.Fatalf("%q", all.junk)
		}
	})
}

func FuzzStore(f *testing.F) {
	for _, seed := range []string{"1 +FLAGS ($Junk)", "1:* (UNCHANGEDSINCE 3) -FLAGS.SILENT NotJunk", "$ FLAGS (\\Seen Junk NonJunk)", "1 FLAGS", "1 (("} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, args string) {
		c, ok := parseStore(wire.NewLexer([]byte(args)))
		if !ok {
			return
		}
		if said := c.says(nil); c.junk && c.ham && said != nothing || c.sign == '-' && said != nothing {
			t.Fatalf("%q says %d", args, said)
		}
	})
}
