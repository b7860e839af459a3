package mail

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestParseFrom(t *testing.T) {
	for value, want := range map[string]string{
		`bob@example.org`:                                        `[{ bob@example.org}]`,
		`Bob <bob@example.org>`:                                  `[{Bob bob@example.org}]`,
		`"Bob, the Builder" <bob@example.org>`:                   `[{Bob, the Builder bob@example.org}]`,
		`bob@example.org (Bob (the) Builder)`:                    `[{ bob@example.org}]`,
		`Bob B. Builder <bob@example.org>`:                       `[{Bob B. Builder bob@example.org}]`,
		`Jürgen <j@example.org>`:                                 `[{Jürgen j@example.org}]`,
		`=?utf-8?Q?J=C3=BCr?= =?utf-8?Q?gen?= X <j@example.org>`: `[{Jürgen X j@example.org}]`,
		`a@x.example, B <b@y.example>`:                           `[{ a@x.example} {B b@y.example}]`,
		`"a b"@example.org`:                                      `[{ "a b"@example.org}]`,
		`bob@example.org <Bob@EXAMPLE.org>`:                      `[{bob@example.org Bob@EXAMPLE.org}]`,
		`<bob@[192.0.2.1]>`:                                      `[{ bob@[192.0.2.1]}]`,
		`team: a@x.example, b@x.example;`:                        `[{ a@x.example} { b@x.example}] group`,
		`undisclosed:;`:                                          `[] group`,
		`"admin@legit.example" <x@attack.example>`:               `[{admin@legit.example x@attack.example}]`,
	} {
		got, group, err := ParseFrom(value)
		text := fmt.Sprint(show(got))
		if group {
			text += " group"
		}
		if err != nil || text != want {
			t.Errorf("%s: %s, %v, want %s", value, text, err, want)
		}
	}
}

func show(list []Mailbox) []string {
	texts := []string{}
	for _, m := range list {
		texts = append(texts, "{"+m.Name+" "+m.Address.String()+"}")
	}
	return texts
}

// What follows is read as one address by some readers and as another by others.
func TestParseFromRefuses(t *testing.T) {
	for _, value := range []string{
		``, ` `, `Bob`, `<>`, `Bob <>`, `Bob <bob>`, `bob@`, `@example.org`, `bob@example..org`,
		`admin@legit.example <x@attack.example>`,
		`<admin@legit.example>\,<second@attack.example>`,
		`<any@attack.example>admin@legit.example`,
		`<@attack.example,@any.example:admin@legit.example>`,
		`<@attack.example:admin@legit.example>`,
		`=?utf-8?B?PGFkbWluQGxlZ2l0PiA=?=,<second@attack.example>`,
		`admin(@attack.example)@legit.example`,
		`"admin" (x)@legit.example`,
		`admin @legit.example`, `admin@ legit.example`,
		"<legit@a.example\x00@attack.example>",
		"<a@legit\uFFFDattack.example>",
		"<\u202Emoc.legit@\u202Dalice.example>",
		"<a\u200Bb@legit.example>",
		`a@x.example,`, `a@x.example,,b@y.example`, `a@x.example b@y.example`, `a@x.example; b@y.example`,
		`<a@x.example> <b@y.example>`, `a@b@c.example`, `Bob <bob@example.org`, `Bob "bob@example.org>`, `(bob@example.org`,
		`team: a@x.example`, `a: b: c@x.example;;`, `.a@x.example`, `a..b@x.example`, `<a b@x.example>`,
		strings.Repeat("(", 100) + strings.Repeat(")", 100) + "a@x.example",
	} {
		if got, _, err := ParseFrom(value); err == nil {
			t.Errorf("%q is read as %v", value, show(got))
		}
	}
}

func TestParseFromTakesLinearTime(t *testing.T) {
	for _, piece := range []string{"(", `"`, "<", "a,", "a@x.example,", `\`, "a ", "=?", "()", `"" `, "g:"} {
		start := time.Now()
		_, _, _ = ParseFrom(strings.Repeat(piece, 1<<20/len(piece)))
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("1 MiB of %q takes %v", piece, took)
		}
	}
}

func FuzzParseFrom(f *testing.F) {
	for _, s := range []string{`Bob <bob@example.org>`, `g: a@b.c, "d e" <f@g.h>;`, `=?utf-8?B?PGE=?= <a@b.c>`, `a@b.c <a@B.c> (x)`, `"a\"b"@[192.0.2.1]`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		list, _, err := ParseFrom(value)
		if err != nil {
			return
		}
		for _, m := range list {
			again, _, err := ParseFrom("<" + m.Address.String() + ">")
			if err != nil || len(again) != 1 || again[0].Address != m.Address {
				t.Errorf("%q: address %q is read again as %v, %v", value, m.Address.String(), show(again), err)
			}
		}
	})
}
