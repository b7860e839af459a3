package eval

import (
	"math"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

func headerFunctions() map[string]Func {
	return map[string]Func{
		"check_for_fake_aol_relay_in_rcvd": fakeAOLRelay, "check_for_faraway_charset_in_headers": farawayInHeaders, "check_for_unique_subject_id": never,
		"check_illegal_chars": illegalChars, "check_for_matching_env_and_hdr_from": matchingFroms,
		"sorted_recipients": sortedRecipients, "similar_recipients": similarRecipients, "check_for_missing_to_header": missingTo,
		"check_for_shifted_date": shiftedDate, "received_within_months": receivedWithinMonths, "subject_is_all_caps": subjectAllCaps,
		"check_for_to_in_subject": toInSubject, "check_outlook_message_id": outlookMessageID, "check_messageid_not_usable": messageIDNotUsable,
		"check_header_count_range": headerCountRange, "check_unresolved_template": unresolvedTemplate, "check_ratware_name_id": ratwareNameID,
		"check_ratware_envelope_from": ratwareEnvelopeFrom, "gated_through_received_hdr_remover": gated, "check_equal_from_domains": equalFromDomains,
	}
}

var (
	aolRelay   = regexp.MustCompile(`(?i) rly-[a-z][a-z]\d\d\.`)
	aolVersion = regexp.MustCompile(`/AOL-\d+\.\d+\.\d+\)|ESMTP id (?:RELAY|MAILRELAY|MAILIN)`)
)

func spaced(text string) string { return strings.Join(strings.Fields(text), " ") }

func fakeAOLRelay(c *Context, _ []string) float64 {
	text := " " + spaced(c.text("Received"))
	return truth(aolRelay.MatchString(text) && !aolVersion.MatchString(text))
}

var wordCharset = regexp.MustCompile(`=\?(.+?)\?.\?.*?\?=`)

func farawayInHeaders(c *Context, _ []string) float64 {
	if c.anyLocale() {
		return 0
	}
	for _, name := range []string{"From:raw", "Subject:raw"} {
		for _, v := range c.Message.Get(name) {
			for _, m := range wordCharset.FindAllStringSubmatch(v, 100) {
				if !c.localCharset(m[1]) {
					return 1
				}
			}
		}
	}
	return 0
}

func illegalChars(c *Context, args []string) float64 {
	name := arg(args, 0)
	if !strings.HasSuffix(name, ":raw") {
		name += ":raw"
	}
	text := c.text(name)
	if strings.TrimSpace(text) == "" {
		return 0
	}
	controls, high := countIllegal(text)
	if high > 0 && controls == 0 && unencodedUTF8(text) {
		return 0
	}
	illegal := controls + high
	if illegal > 0 && strings.EqualFold(name, "subject:raw") && countSigns(text) == 1 {
		illegal-- // one sign of money or of a trade mark may be
	}
	return truth(float64(illegal)/float64(len(text)) >= number(arg(args, 1)) && float64(illegal) >= number(arg(args, 2)))
}

// unencodedUTF8 says whether a text is UTF-8 as RFC 6532 allows it in a header.
func unencodedUTF8(text string) bool { return utf8.ValidString(text) && !asciiOnly(text) }

// countSigns counts the signs of cent, pound and registered trade marks, as octets of ISO-8859-1.
func countSigns(text string) int {
	return strings.Count(text, "\xa2") + strings.Count(text, "\xa3") + strings.Count(text, "\xae")
}

// countIllegal counts octets that no header has by its grammar.
func countIllegal(text string) (controls, high int) {
	for i := range len(text) {
		switch b := text[i]; {
		case b < ' ' && b != '\t' && b != '\n' && b != '\r':
			controls++
		case b >= 0x7f:
			high++
		}
	}
	return controls, high
}

func asciiOnly(text string) bool {
	for i := range len(text) {
		if text[i] >= 0x80 {
			return false
		}
	}
	return true
}

func matchingFroms(c *Context, _ []string) float64 {
	return truth(c.lower("EnvelopeFrom:addr") == c.lower("From:addr"))
}

// recipients are the addresses a message names, neighbours that are equal once.
func (c *Context) recipients() []string {
	return once(c, "recipients", func() []string {
		inputs := c.Message.Get("ToCc:addr")
		if len(inputs) < 5 {
			inputs = append(slices.Clone(inputs), c.Message.Get("Bcc:addr")...)
		}
		var all []string
		before := ""
		for _, a := range inputs {
			if a == "" || a == "0" || len(all) == 256 {
				break
			}
			if !strings.EqualFold(a, before) {
				all = append(all, a)
				before = a
			}
		}
		return all
	})
}

func sortedRecipients(c *Context, _ []string) float64 {
	all := c.recipients()
	return truth(len(all) >= 7 && sort.StringsAreSorted(all))
}

func similarRecipients(c *Context, args []string) float64 {
	similar := once(c, "similar", func() float64 {
		all := c.recipients()
		if len(all) < 5 {
			return 0
		}
		front := func(s string) string { return s[:min(2, len(s))] }
		var hosts []string
		for _, a := range all {
			_, host, _ := strings.Cut(a, "@")
			hosts = append(hosts, host)
		}
		hits, pairs := 0.0, 0.0
		for i := range all {
			for j := i + 1; j < len(all); j++ {
				if front(all[i]) == front(all[j]) {
					hits++
				}
				if front(hosts[i]) == front(hosts[j]) && hosts[i] != hosts[j] {
					hits++
				}
				pairs++
			}
		}
		return hits / pairs
	})
	return truth(within(similar, arg(args, 0), arg(args, 1), 1))
}

// within says whether a value is at least one bound and below the other, each in units; "undef" is no bound.
func within(value float64, least, below string, unit float64) bool {
	return (least == "undef" || value >= number(least)*unit) && (below == "undef" || value < number(below)*unit)
}

func missingTo(c *Context, _ []string) float64 {
	return truth(c.text("To") == "" && c.text("Apparently-To") == "")
}

func shiftedDate(c *Context, args []string) float64 {
	return truth(within(float64(c.dates().diff), arg(args, 0), arg(args, 1), 3600))
}

func receivedWithinMonths(c *Context, args []string) float64 {
	d := c.dates()
	var all []int64
	if d.hasDate {
		all = append(all, d.written)
	}
	if len(d.received) > 0 {
		all = append(all, d.received[0])
	}
	if len(d.fetched) > 0 {
		all = append(all, slices.Max(d.fetched))
	}
	if d.hasDate && len(d.received) > 0 {
		all = append(all, d.written-d.diff)
	}
	at := int64(0)
	if len(all) > 0 {
		slices.SortFunc(all, func(a, b int64) int { return int(b - a) })
		at = all[(len(all)-1)/2]
	}
	least, most := arg(args, 0), arg(args, 1)
	if least == "" {
		least = "undef"
	}
	if most == "" {
		most = "undef"
	}
	return truth(within(float64(c.Now.Unix()-at), least, most, 31556952.0/12))
}

var answerWords = regexp.MustCompile(`(?i)^(?:(?:Re|Fwd|Fw|Aw|Antwort|WG|SV|VB|VS|VL):\s*)+`)

func subjectAllCaps(c *Context, _ []string) float64 {
	subject := answerWords.ReplaceAllString(strings.Trim(c.text("Subject"), " \t\n\r\f\v"), "")
	if !strings.ContainsAny(subject, " \t\n\r\f\v") || len(subject) < 10 {
		return 0
	}
	for _, m := range wordCharset.FindAllStringSubmatch(c.text("Subject:raw"), 100) {
		if capsCharset(m[1]) {
			return 0
		}
	}
	letters := false
	for i := range len(subject) {
		if subject[i] >= 'a' && subject[i] <= 'z' {
			return 0
		}
		letters = letters || subject[i] >= 'A' && subject[i] <= 'Z'
	}
	return truth(letters)
}

func toInSubject(c *Context, args []string) float64 {
	to, subject := c.text("To:addr"), c.text("Subject")
	if to == "" {
		return 0
	}
	if arg(args, 0) == "address" {
		return truth(c.find(made(`(?i)\b`+quote(to)+`\b`), subject))
	}
	user, _, _ := strings.Cut(to, "@")
	user = quote(user)
	re := `(?i)^(?:(?:re|fw):\s*(?:\w+\s+)?` + user + `$|(?-i:` + user + `)\s*[,:;!?-](?:$|\s)|` + user + `$|,\s*` + user + `[,:;!?-]$)`
	return truth(arg(args, 0) == "user" && c.find(made(re), subject))
}

// quote makes a text an expression for itself.
func quote(text string) string {
	var b strings.Builder
	for i := range len(text) {
		ch := text[i]
		if !isWordByte(ch) && ch < 0x80 {
			b.WriteByte('\\')
		}
		b.WriteByte(ch)
	}
	return b.String()
}

var outlookID = regexp.MustCompile(`^<[0-9a-f]{4}([0-9a-f]{8})\$[0-9a-f]{8}\$[0-9a-f]{8}@`)

// outlookMessageID says whether the time in a message id of Outlook's form is neither that of the Date nor of the last
// Received field.
func outlookMessageID(c *Context, _ []string) float64 {
	m := outlookID.FindStringSubmatch(c.text("MESSAGEID"))
	if m == nil {
		return 0
	}
	token, _ := strconv.ParseInt(m[1], 16, 64)
	off := func(t int64) float64 {
		return math.Abs(float64(token) - math.Trunc(float64(t)*0.0023283064365387+27111902.8329849))
	}
	at, _ := parseDate(c.text("Date"))
	if off(at) < 250 {
		return 0
	}
	at, _ = parseDate(c.text("Received"))
	return truth(off(at) >= 250)
}

var (
	listLeave = regexp.MustCompile(`(?i)<mailto:(?:leave-\S+|\S+-unsubscribe)@\S+>\n?$`)
	oddServer = regexp.MustCompile(`/CWT/DCE\)|iPlanet Messaging Server`)
)

func messageIDNotUsable(c *Context, _ []string) float64 {
	return truth(listLeave.MatchString(c.text("List-Unsubscribe")) || gated(c, nil) > 0 || oddServer.MatchString(c.text("Received")))
}

func headerCountRange(c *Context, args []string) float64 {
	n := float64(len(unique(c.Message.Header().Values(arg(args, 0)))))
	return truth(n >= number(arg(args, 1)) && n <= number(arg(args, 2)))
}

var (
	template     = regexp.MustCompile(`%[A-Z][A-Z_-]`)
	templateMay  = regexp.MustCompile(`(?i)^(?:X-VMS-To|X-UIDL|X-Face|To|Cc|From|Subject|References|In-Reply-To|(?:X-|Resent-|X-Original-)?Message-Id):`)
	ratwareID    = regexp.MustCompile(`<[A-Z]{28}\.([^>]+?)>`)
	ezmlm        = regexp.MustCompile(`(?m)^contact \S+@\S+; run by ezmlm$`)
	ezmlmTo      = regexp.MustCompile(`(?m)^mailing list \S+@\S+`)
	ezmlmBy      = regexp.MustCompile(`qmail \d+ invoked (?:from network|by .{3,20})\); \d+ ... \d+`)
	msnGroups    = regexp.MustCompile(`from groups\.msn\.com \(\S+\.msn\.com `)
	rewrittenSRS = regexp.MustCompile(`(?i)^SRS\d[=+-]`)
)

func unresolvedTemplate(c *Context, _ []string) float64 {
	for _, line := range strings.Split(c.text("ALL"), "\n") {
		if template.MatchString(line) && !templateMay.MatchString(line) {
			return 1
		}
	}
	return 0
}

func ratwareNameID(c *Context, _ []string) float64 {
	m := ratwareID.FindStringSubmatch(c.text("MESSAGEID"))
	return truth(m != nil && c.find(made(`"[^"]+"\s*<`+quote(m[1])+`>`), c.text("From")))
}

func ratwareEnvelopeFrom(c *Context, _ []string) float64 {
	to, from := c.text("To:addr"), c.text("EnvelopeFrom:addr")
	user, host, _ := strings.Cut(to, "@")
	if from == "" || rewrittenSRS.MatchString(from) {
		return 0
	}
	if user == "" || host == "" {
		return 0
	}
	domain := c.Config.Domains.Trim(host)
	return truth(c.Config.Domains.Valid(domain) && c.find(made(`(?i)\b`+quote(domain)+`.`+quote(user)+`@`), from))
}

// gated says whether a message came through a gateway that takes Received fields out.
func gated(c *Context, _ []string) float64 {
	return once(c, "gated", func() float64 {
		received, any := c.Message.Value("Received")
		if ezmlm.MatchString(c.text("Mailing-List")) && ezmlmTo.MatchString(c.text("Delivered-To")) && ezmlmBy.MatchString(received) {
			return 1
		}
		return truth(!any || msnGroups.MatchString(received))
	})
}

// lastTwo are the last two labels of the domain of an address.
func lastTwo(address string) string {
	i := strings.LastIndexByte(address, '@')
	if i < 0 {
		return ""
	}
	labels := strings.Split(strings.ToLower(address[i+1:]), ".")
	if n := len(labels); n > 2 && labels[n-1] != "" && labels[n-2] != "" {
		labels = labels[n-2:]
	}
	return strings.Join(labels, ".")
}

// equalFromDomains says whether the domains differ: the name is SpamAssassin's.
func equalFromDomains(c *Context, _ []string) float64 {
	from, envelope := lastTwo(c.text("From:addr")), lastTwo(c.text("EnvelopeFrom:addr"))
	return truth(from != "" && envelope != "" && from != envelope)
}
