package mail

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/internal/testing/cputime"
)

func TestParseFrom(t *testing.T) {
	for value, want := range map[string]string{
		`bob@example.org`:                                        `[{ bob@example.org}]`,
		`Bob <bob@example.org>`:                                  `[{Bob bob@example.org}]`,
		`"Bob, the Builder" <bob@example.org>`:                   `[{Bob, the Builder bob@example.org}]`,
		`bob@example.org (Bob (the) Builder)`:                    `[{Bob (the) Builder bob@example.org}]`,
		`(Bob) bob@example.org`:                                  `[{Bob bob@example.org}]`,
		`<bob@example.org> (=?utf-8?Q?B=C3=B6b?=)`:               `[{Böb bob@example.org}]`,
		`Bob (IT) <bob@example.org>`:                             `[{Bob bob@example.org}]`,
		`Bob (boss@bank.example) <bob@example.org>`:              `[{Bob (boss@bank.example) bob@example.org}]`,
		`a@x.example (A \(1\)), (B) b@y.example, c@z.example`:    `[{A (1) a@x.example} {B b@y.example} { c@z.example}]`,
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
		`a@x.example,,b@y.example`, `a@x.example b@y.example`, `a@x.example; b@y.example`,
		`<a@x.example> <b@y.example>`, `a@b@c.example`, `Bob "bob@example.org>`, `(bob@example.org`,
		`team: a@x.example`, `a: b: c@x.example;;`, `<a b@x.example>`, `...@x.example`,
		strings.Repeat("(", 100) + strings.Repeat(")", 100) + "a@x.example",
	} {
		if got, _, err := ParseFrom(value); err == nil {
			t.Errorf("%q is read as %v", value, show(got))
		}
	}
}

// What breaks the grammar and still holds one address for every reader is read.
func TestReadAuthorOdd(t *testing.T) {
	for value, want := range map[string]string{
		`npm, Inc. <a@b.example>`:                                `{npm, Inc. a@b.example}`,
		`[JIRA] Bob Builder (JIRA) <jira@b.example>`:             `{[JIRA] Bob Builder (JIRA) jira@b.example}`,
		`Re: the thing; <a@b.example>`:                           `{Re: the thing; a@b.example}`,
		`Team @ Acme, Inc. <a@b.example>`:                        `{Team @ Acme, Inc. a@b.example}`,
		`Bob, @bob <a@b.example>`:                                `{Bob, @bob a@b.example}`,
		`info@b.example, Acme: <a@b.example>`:                    `{info@b.example, Acme: a@b.example}`,
		`info@b.example, Acme: <a@mail.b.example>`:               `{info@b.example, Acme: a@mail.b.example}`,
		`=?utf-8?Q?M=C3=BCller, S=C3=B6hne?= <a@b.example>`:      `{Müller, Söhne a@b.example}`,
		`=?utf-8?Q?M=C3=BCller?=, =?utf-8?Q?Co?= <a@b.example.>`: `{Müller, Co a@b.example}`,
		`"Bob <a@b.example>`:                                     `{Bob a@b.example}`,
		`Bob <<a@b.example>>`:                                    `{Bob a@b.example}`,
		`Bob) <a@b.example>`:                                     `{Bob) a@b.example}`,
		`<mailto:a@b.example>`:                                   `{ a@b.example}`,
		`a@x.example,`:                                           `{ a@x.example}`,
		`Bob <a@b.example>;`:                                     `{Bob a@b.example}`,
		`Bob <bob@example.org`:                                   `{Bob bob@example.org}`,
		`Bob <bob@example.org>.`:                                 `{Bob bob@example.org}`,
	} {
		a, err := ReadAuthor(value)
		if err != nil || len(a.Mailboxes) != 1 || show(a.Mailboxes)[0] != want || a.Odd == "" {
			t.Errorf("%s: %q %q %v, want %s", value, show(a.Mailboxes), a.Odd, err, want)
		}
	}
}

// Dots in odd places are part of the mailbox, and it is written as it came.
func TestReadAuthorOddDots(t *testing.T) {
	for value, want := range map[string]string{
		`<a..b@docomo.example>`:         `a..b@docomo.example`,
		`a.@docomo.example`:             `a.@docomo.example`,
		`X <"a..b"@docomo.example>`:     `"a..b"@docomo.example`,
		`Anna <anna@friend.example.>`:   `anna@friend.example`,
		`Anna <"anna"@friend.example.>`: `anna@friend.example`,
	} {
		a, err := ReadAuthor(value)
		if err != nil || len(a.Mailboxes) != 1 || a.Mailboxes[0].Address.String() != want || a.Odd != "" {
			t.Errorf("%s: %q %q %v, want %s", value, show(a.Mailboxes), a.Odd, err, want)
		}
	}
}

// A second address, wherever a reader may find it, is none of the odd forms that are let through.
func TestReadAuthorHiddenAddress(t *testing.T) {
	for _, value := range []string{
		`Boss <"<boss@bank.example>"@attack.test>`, `"boss@bank.example x"@attack.test`, `=?utf-8?B?Ym9zc0BiYW5rLmV4YW1wbGU=?=@attack.test`,
		`<=?utf-8?Q?boss=40bank.example?=@attack.test>`, "<\"boss\uff20bank.example\"@attack.test>", `"=?utf-8?Q?boss=40bank.example?="@attack.test`,
		`boss@bank.example, Inc. <x@attack.test>`, `boss @ bank.example, Inc. <x@attack.test>`, `Boss, "boss@bank.example" <x@attack.test>`,
		`Boss, (boss@bank.example) <x@attack.test>`, `Boss, =?utf-8?Q?boss=40bank.example?= <x@attack.test>`, `Boss, boss@bank <x@attack.test>`,
		`Boss, boss(x)@bank.example <x@attack.test>`, `Boss, =?gb2312?Q?boss=40bank.example?= <x@attack.test>`, `Boss, <boss@bank.example>, <x@attack.test>`,
		`Boss, <boss@bank.example> x@attack.test`, `Boss, boss@[192.0.2.1] <x@attack.test>`, `, boss@bank.example:x@attack.test>`,
		`boss @ (x\)) bank.example, Y <x@attack.test>`, `boss @ bank . example, Y <x@attack.test>`, `boss @ bank. example, Y <x@attack.test>`,
		`boss @ bank\.example, Y <x@attack.test>`, `boss @ \bank.example, Y <x@attack.test>`, `boss @ "bank".example, Y <x@attack.test>`,
		`boss @ bank"".example, Y <x@attack.test>`, `boss @ <bank.example>, Y <x@attack.test>`, `[boss @ bank] .example; <x@attack.test>`,
		`boss @ bank。example; Y <x@attack.test>`, `boss @ bank｡example; Y <x@attack.test>`, "boss @ \x00bank.example; Y <x@attack.test>",
		"boss @ bank\x00.example; Y <x@attack.test>", "boss @ \x0bbank.example; Y <x@attack.test>", `boss @ bank(x\)).example, Y <x@attack.test>`,
		`boss @ =?utf-8?Q?bank_=2E_example?=, Y <x@attack.test>`,
		`a@attack.test, "boss"@bank.example`, `<x@attack.test>, boss@bank.example,`,
	} {
		if a, err := ReadAuthor(value); err == nil && a.Odd != "" || err == nil && len(a.Mailboxes) < 2 {
			t.Errorf("%q is read as %v", value, show(a.Mailboxes))
		}
	}
}

func TestReadAuthorWithoutAddress(t *testing.T) {
	for value, name := range map[string]string{
		`<>`: "", ``: "", `MAILER-DAEMON`: "MAILER-DAEMON", `Mail Delivery System <MAILER-DAEMON>`: "Mail Delivery System",
		`"Mail Delivery System" <>`: "Mail Delivery System", `Mail Delivery System`: "Mail Delivery System",
		`MAILER-DAEMON (Mail Delivery System)`: "MAILER-DAEMON (Mail Delivery System)", `postmaster`: "postmaster",
	} {
		a, err := ReadAuthor(value)
		if err != ErrFromNoAddress || len(a.Mailboxes) != 1 || a.Mailboxes[0].Name != name {
			t.Errorf("%q: %v %v", value, a, err)
		}
	}
	for _, value := range []string{`ceo`, `Boss <ceo>`, `a@b`, `=?utf-8?Q?a=40b.example?=`, `<ceo> <>`} {
		if a, err := ReadAuthor(value); err == ErrFromNoAddress {
			t.Errorf("%q: %v", value, a)
		}
	}
}

func TestNamesAreDecodedAsReadersDo(t *testing.T) {
	for value, want := range map[string]string{
		`=?windows-1252?Q?boss=40rcpt.example?= <x@attack.test>`: "boss@rcpt.example",
		`"=?utf-8?Q?boss=40rcpt.example?=" <x@attack.test>`:      "boss@rcpt.example",
		`=?gb2312?B?1cXI/Q==?= <x@attack.test>`:                  "张三",
		`=?utf-7?Q?boss+AEA-rcpt.example?= <x@attack.test>`:      "boss@rcpt.example",
	} {
		if a, err := ReadAuthor(value); err != nil || a.Mailboxes[0].Name != want {
			t.Errorf("%s: %v %v, want %s", value, show(a.Mailboxes), err, want)
		}
	}
}

func TestAddressesIn(t *testing.T) {
	for text, want := range map[string]string{
		"boss@rcpt.example": "[boss@rcpt.example]", "Boss (boss@rcpt.example)": "[boss@rcpt.example]", "boss @ rcpt.example": "[boss@rcpt.example]",
		"boss\uff20rcpt.example": "[boss@rcpt.example]", "boss\u200b@rcpt.example": "[boss@rcpt.example]", "@handle": "[]", "me @ Acme": "[]",
		"'boss@rcpt.example' via x": "[boss@rcpt.example]", "a@b.example c@d.example": "[a@b.example c@d.example]", "@": "[]", "@@": "[]",
	} {
		if got := fmt.Sprint(AddressesIn(text)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestParseFromTakesLinearTime(t *testing.T) {
	for _, piece := range []string{"(", `"`, "<", "a,", "a@x.example,", `\`, "a ", "=?", "()", `"" `, "g:"} {
		took := cputime.Of(func() { _, _, _ = ParseFrom(strings.Repeat(piece, 1<<20/len(piece))) })
		if took > 2*time.Second {
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
