package rules

import (
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/mimeview"
)

func match(t testing.TB, rules, message string) string {
	t.Helper()
	set, problems := Parse(File{Name: "test.cf", Text: rules})
	for _, p := range problems {
		t.Errorf("%s:%d: %s: %s", p.File, p.Line, p.Text, p.Why)
	}
	return names(set, message)
}

func names(set *Set, message string) string {
	m := mail.NewMessage([]byte(strings.ReplaceAll(message, "\n", "\r\n")))
	var all []string
	for _, h := range set.Match(Input{View: mimeview.New(m, mimeview.Options{}), EnvelopeFrom: "bob@example.org"}) {
		all = append(all, h.Rule)
	}
	return strings.Join(all, " ")
}

const letter = "From: \"Bob B\" <bob@example.org>\nTo: eve@corp.example\nCc: dan@corp.example\nSubject: =?utf-8?Q?B=C3=BCy?= now\nX-Empty:\nReceived: a\nReceived: b\n\n" +
	"First  line,\nsame paragraph: caf\u00e9.\n\nSecond PARAGRAPH http://192.0.2.1/x and money money money\n"

func TestOneLineRules(t *testing.T) {
	for rule, want := range map[string]bool{
		`header X Subject =~ /now$/`:                     true,
		`header X Subject =~ /^B.{2}y now$/`:             true, // octets: ü has two
		`header X Subject:raw =~ /=\?utf-8/`:             true,
		`header X Missing =~ /./`:                        false,
		`header X Missing !~ /./`:                        true,
		`header X Missing =~ /^none$/ [if-unset: none]`:  true,
		`header X exists:X-Empty`:                        true,
		`header X exists:X-None`:                         false,
		`header X From:addr =~ /^bob\@example\.org$/`:    true,
		`header X From:name =~ /^Bob B$/`:                true,
		`header X ToCc =~ /dan@/`:                        true,
		`header X ALL =~ /^Received: b$/m`:               true,
		`header X EnvelopeFrom =~ /^bob@/`:               true,
		`header X Received =~ /a\nb/`:                    true,
		`body X /First line, same paragraph/`:            true,
		`body X /paragraph.*Second/`:                     false, // each paragraph by itself
		`body X /now/`:                                   true,  // the Subject is part of the body
		`body X /second paragraph/i`:                     true,
		`body X m{192\.0\.2\.1/x}`:                       true,
		`body X /caf\xc3\xa9/`:                           true,
		`body X /caf../`:                                 true,
		`body X / sec ond \s+ PARAGRAPH /xi`:             true,
		`rawbody X /line,\nsame/`:                        true,
		`uri X m!^http://\d+\.\d+\.\d+\.\d+/!`:           true,
		`uri X /nowhere/`:                                false,
		`full X /\n\nFirst/`:                             true, // line ends are LF
		`full X /\r/`:                                    false,
		`body X /mon{,3}ey/`:                             true,
		`body X /a # not a comment/`:                     false,
		`body X /(?<!same )paragraph/`:                   false,
		`body X /(mon)ey \1/`:                            true,
		`header X From:addr:host =~ /^example\.org$/`:    true,
		`header X From:addr:domain =~ /^example\.org$/`:  true,
		`header X exists:ToCc`:                           true,
		`header X exists:MESSAGEID`:                      false,
		`header X Received:first =~ /^a$/`:               true,
		`header X Received:last =~ /^b$/`:                true,
		`header X From:addr =~ /\n/`:                     false, // addresses and names have no line end
		`header X From:name =~ /\n/`:                     false,
		`header X Subject =~ /\n$/`:                      true,
		`header X X-Spam-Relays-Untrusted =~ /ip=/`:      false,
		`header X eval:check_no_relays()`:                true,
		`header X eval:check_relays_unparseable()`:       false,
		`header X eval:check_for_missing_to_header()`:    false,
		`mimeheader X Subject =~ /now/`:                  true,
		`uri_detail X cleaned =~ /192/ type =~ /parsed/`: true,
		`uri_detail X cleaned =~ /192/ type =~ /img/`:    false,
	} {
		rule = strings.ReplaceAll(rule, "# not", `\# not`)
		if got := match(t, rule, letter) == "X"; got != want {
			t.Errorf("%s: %v, want %v", rule, got, want)
		}
	}
}

func TestMetas(t *testing.T) {
	const base = "body __YES /First/\nbody __NO /nothing/\nbody __MONEY /money/\ntflags __MONEY multiple maxhits=5\nbody OFF /First/\nscore OFF 0\n"
	for expr, want := range map[string]bool{
		"__YES": true, "__NO": false, "!__NO": true, "__YES && __NO": false, "__YES || __NO": true,
		"__MONEY == 3": true, "__MONEY > 2 && __YES": true, "(__YES + __NO + __MONEY) >= 4": true,
		"__MONEY * 2 - 6": false, "__MONEY / 3 == 1": true, "!(__YES && !__NO)": false, "OFF": false, "-__MONEY < 0": true,
	} {
		if got := match(t, base+"meta X "+expr, letter) == "X"; got != want {
			t.Errorf("%s: %v, want %v", expr, got, want)
		}
	}
}

func TestBadLinesAreNamedAndTheRestWorks(t *testing.T) {
	const text = `body GOOD /First/
body LOOK /a(?!b)/
body BACK /(a)\1/
body HUGE /(a{1,1000}){1,1000}/
body OPEN /(a/
nonsense line
header FUNC eval:check_x()
meta LOOP1 LOOP2
meta LOOP2 LOOP1
meta UNKNOWN NOWHERE
score NOBODY 3
score GOOD many
body 1BAD /x/
meta BAD (1 +
if (version >= 3.004)
body V /Second/
endif
if !plugin(Mail::X) && can(Mail::Y)
body SKIPPED /First/
else
body ELSE /First/
endif
ifplugin Mail::SpamAssassin::Plugin::X
body PLUGIN /First/
endif
lang de describe GOOD gut
describe GOOD It has a first line
score GOOD 1 2 3 4.5
`
	set, problems := Parse(File{Name: "x.cf", Text: text})
	if got := names(set, letter); got != "GOOD LOOK HUGE V ELSE" {
		t.Errorf("hits %s", got)
	}
	want := map[int]string{5: "can't be used", 6: "no directive", 7: "function check_x", 10: "NOWHERE", 11: "no rule", 12: "not a score", 13: "not the name", 14: "too early"}
	seen := map[int]string{}
	for _, p := range problems {
		seen[p.Line] += p.Why
		if p.File != "x.cf" {
			t.Errorf("file %q", p.File)
		}
	}
	for line, why := range want {
		if !strings.Contains(seen[line], why) {
			t.Errorf("line %d: %q, want %q in it", line, seen[line], why)
		}
	}
	if seen[8] == "" && seen[9] == "" {
		t.Error("a meta that needs itself is not named")
	}
	if s := set.Symbols()[0]; s.Name != "GOOD" || s.Score != 2 || s.Describe != "It has a first line" {
		t.Errorf("%+v", s)
	}
}

func TestTheLaterRuleHolds(t *testing.T) {
	set, _ := Parse(File{Name: "a.cf", Text: "body X /nothing/\nscore X 5\n"}, File{Name: "b.cf", Text: "body X /First/\nscore X 1\n"})
	if names(set, letter) != "X" || set.Symbols()[0].Score != 1 {
		t.Errorf("%+v", set.Symbols())
	}
}

func FuzzParse(f *testing.F) {
	f.Add("header X Subject =~ /a[]b]\\s$/xmi\nmeta Y X && (Z > 2)\nscore X 1 2 3 4\nif can(x)\nelse\nendif\ntflags X multiple maxhits=2\n")
	f.Add("body X m{(?:a|b){,3}\\d}i\nbody Y /\\x{ff}[[:alpha:]]+/\nifplugin x\n")
	f.Fuzz(func(t *testing.T, text string) {
		set, _ := Parse(File{Name: "f.cf", Text: text})
		names(set, letter)
	})
}
