package rules

import (
	"net/netip"
	"slices"
	"sort"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/rules/eval"
)

// zone is a DNS of lists: a name and its answers.
type zone map[string][]string

func (z zone) Listed(name, list string) []string { return z[strings.TrimSuffix(name+"."+list, ".")] }
func (z zone) Texts(name, list string) []string {
	return z["txt "+strings.TrimSuffix(name+"."+list, ".")]
}
func (z zone) Dead(name string) bool { return z["dead "+name] != nil }

const networkRules = `
header   R_LISTED eval:check_rbl('one-lastexternal', 'list.example.')
tflags   R_LISTED net
header   R_SUB eval:check_rbl_sub('one-lastexternal', '127.0.0.4')
tflags   R_SUB net
header   R_SUB_NOT eval:check_rbl_sub('one-lastexternal', '127.0.0.9')
tflags   R_SUB_NOT net
header   R_TXT eval:check_rbl_txt('two', 'txt.example.', '/listed/')
tflags   R_TXT net
header   R_DEAD eval:check_dns_sender()
tflags   R_DEAD net
urirhssub U_BITS uribl.example. A 2
body     U_BITS eval:check_uridnsbl('U_BITS')
tflags   U_BITS net
urirhssub U_NOT uribl.example. A 8
body     U_NOT eval:check_uridnsbl('U_NOT')
tflags   U_NOT net
askdns   A_TXT _SENDERDOMAIN_.rules.example TXT /bad/
askdns   A_NOT _SENDERDOMAIN_.rules.example TXT /good/
header   H_EMAIL eval:check_hashbl_emails('hash.example', 'raw/notag', 'From', '^127\.')
header   S_FAIL eval:check_for_spf_fail()
tflags   S_FAIL net
header   S_PASS eval:check_for_spf_pass()
tflags   S_PASS net
full     D_VALID eval:check_dkim_valid()
tflags   D_VALID net
full     D_AUTHOR eval:check_dkim_valid_author_sig()
tflags   D_AUTHOR net
full     D_THIRD eval:check_dkim_valid('third.example')
tflags   D_THIRD net
header   D_WELCOME eval:check_for_dkim_welcomelist_from()
tflags   D_WELCOME net
welcomelist_from_dkim *@sender.example third.example
header   M_REJECT eval:check_dmarc_reject()
tflags   M_REJECT net
full     ARC eval:check_arc_valid()
tflags   ARC net
header   HELO X-Spam-Relays-External =~ /^\[ ip=203\.0\.113\.9 rdns=r\.client\.example helo=client\.example by=mx\.ours\.example ident= envfrom=bob\@sender\.example /
util_rb_tld example
`

const networkMail = "From: Bob+tag <bob+tag@sender.example>\nTo: eve@ours.example\nSubject: x\n\nhttp://www.evil.example/ and http://good.example/\n"

func networkInput() Input {
	return Input{
		View:         mimeview.New(mail.NewMessage([]byte(crlf(networkMail))), mimeview.Options{}),
		EnvelopeFrom: "bob@sender.example", HasEnvelope: true, Client: netip.MustParseAddr("203.0.113.9"), Helo: "client.example", ReverseName: "r.client.example", Host: "mx.ours.example",
	}
}

func hitNames(set *Set, in Input) string {
	var all []string
	for _, h := range set.Match(in) {
		all = append(all, h.Rule)
	}
	sort.Strings(all)
	return strings.Join(all, " ")
}

func TestRulesThatAskTheNetwork(t *testing.T) {
	set, problems := ParseWith(Options{Network: true}, File{Name: "net.cf", Text: networkRules, Foreign: true})
	for _, p := range problems {
		t.Error(p)
	}
	in := networkInput()
	if got := hitNames(set, in); got != "HELO" {
		t.Errorf("without answers %q", got)
	}
	in.Lists = zone{
		"9.113.0.203.list.example": {"127.0.0.4"}, "txt 9.113.0.203.txt.example": {"is listed"}, "dead sender.example": {"yes"},
		"evil.example.uribl.example": {"127.0.0.6"}, "txt sender.example.rules.example": {"bad boy"}, "bob@sender.example.hash.example": {"127.0.0.2"},
	}
	in.Facts = eval.Facts{SPF: "fail", DKIMKnown: true, DKIM: []eval.Signature{{Domain: "third.example", Valid: true}, {Domain: "sender.example"}}, DMARC: "fail", DMARCPolicy: "reject", ARC: true, ARCValid: true}
	const want = "ARC A_TXT D_THIRD D_VALID D_WELCOME HELO H_EMAIL M_REJECT R_DEAD R_LISTED R_SUB R_TXT S_FAIL U_BITS"
	if got := hitNames(set, in); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// What is known of SPF, DKIM and DMARC is known without the network, too.
func TestFactsNeedNoLists(t *testing.T) {
	set, _ := ParseWith(Options{}, File{Name: "net.cf", Text: networkRules, Foreign: true})
	in := networkInput()
	in.Facts = eval.Facts{SPF: "pass", DMARC: "fail", DMARCPolicy: "reject"}
	if got := hitNames(set, in); got != "HELO M_REJECT S_PASS" {
		t.Errorf("got %s", got)
	}
}

// A rehearsal asks what the rules will ask.
func TestRehearsal(t *testing.T) {
	set, _ := ParseWith(Options{Network: true}, File{Name: "net.cf", Text: networkRules, Foreign: true})
	asked := &recorder{}
	in := networkInput()
	in.Lists = asked
	set.Rehearse(in)
	for _, name := range []string{"9.113.0.203.list.example", "evil.example.uribl.example", "sender.example.rules.example"} {
		if !slices.Contains(asked.names, name) {
			t.Errorf("%s is not asked: %v", name, asked.names)
		}
	}
	if !set.AsksNetwork() {
		t.Error("the set asks the network")
	}
}

type recorder struct{ names []string }

func (r *recorder) Listed(name, list string) []string {
	r.names = append(r.names, name+"."+list)
	return nil
}
func (r *recorder) Texts(name, list string) []string { return r.Listed(name, list) }
func (r *recorder) Dead(string) bool                 { return false }
