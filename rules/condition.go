package rules

import (
	"fmt"
	"slices"
	"strings"
)

// The version of SpamAssassin whose language this is, and that of Perl whose expressions these are, as rule files ask.
const (
	languageVersion = "4.000001"
	perlVersion     = "5.036000"
)

const pluginPrefix = "Mail::SpamAssassin::Plugin::"

// standardPlugins are those that SpamAssassin loads unless it is told otherwise, and whose rules are known here.
func standardPlugins() []string {
	return []string{
		"URIDNSBL", "SPF", "WelcomeListSubject", "MIMEHeader", "ReplaceTags", "DKIM", "Check", "HTTPSMismatch", "URIDetail", "Bayes", "BodyEval", "DNSEval",
		"HTMLEval", "HeaderEval", "MIMEEval", "RelayEval", "URIEval", "WLBLEval", "VBounce", "ImageInfo", "FreeMail", "AskDNS", "HashBL", "DMARC", "AutoLearnThreshold",
	}
}

// foreignPlugins are those that SpamAssassin loads and that do nothing here: their rules are unsupported.
func foreignPlugins() []string { return []string{"Pyzor", "Razor2", "SpamCop"} }

// askedPlugins are known, and there only if a line loads them, as with SpamAssassin.
func askedPlugins() []string { return []string{"PDFInfo", "OLEVBMacro"} }

// pluginName gives the plugin's present name.
func pluginName(text string) string {
	name := strings.TrimPrefix(strings.Trim(text, " \t'\""), pluginPrefix)
	switch name {
	case "Dmarc":
		return "DMARC"
	case "WhiteListSubject":
		return "WelcomeListSubject"
	}
	return name
}

// block is an if and what it decided.
type block struct {
	file  string
	line  int
	text  string
	outer bool // the lines around are skipped
	taken bool // a branch was taken
	skip  bool
	// known says that the condition fails for what this program is; lines counts what was skipped for it.
	known bool
	lines int
	rules []string
}

// condition reads if, ifplugin, elsif, else and endif.
func (p *parser) condition(word, rest, text string) bool {
	switch word {
	case "if", "ifplugin":
		if word == "ifplugin" {
			rest = "plugin(" + rest + ")"
		}
		b := &block{file: p.file.Name, line: p.line, text: text, outer: p.skipping()}
		p.blocks = append(p.blocks, b)
		p.decide(b, rest)
		return true
	case "elsif", "else", "endif":
	default:
		return false
	}
	if len(p.blocks) == 0 {
		p.problem(text, "there is no if for it")
		return true
	}
	b := p.blocks[len(p.blocks)-1]
	switch {
	case word == "endif":
		p.endBlock(b)
		p.blocks = p.blocks[:len(p.blocks)-1]
	case b.taken:
		b.skip = true
	case word == "else":
		b.skip, b.taken = b.outer, true
	default:
		p.decide(b, rest)
	}
	return true
}

func (p *parser) decide(b *block, text string) {
	hold, err := p.evalCondition(text, true)
	if err != nil {
		p.problem(b.text, err.Error())
	}
	b.taken = hold
	b.skip = b.outer || !hold
	if !hold && !b.outer && err == nil {
		theirs, _ := p.evalCondition(text, false)
		b.known = theirs
	}
}

// endBlock tells of what was skipped that SpamAssassin would not skip.
func (p *parser) endBlock(b *block) {
	if b.known && b.lines > 0 {
		why := fmt.Sprintf("%d lines with %d rules are skipped: SpamAssassin has the plugin or the feature, this program does not", b.lines, len(b.rules))
		p.add(Problem{File: b.file, Line: b.line, Text: b.text, Why: why, Kind: Skipped})
	}
}

func (p *parser) skipping() bool {
	return len(p.blocks) > 0 && p.blocks[len(p.blocks)-1].skip
}

// skipLine counts a line that is skipped.
func (p *parser) skipLine(word, rest string) {
	for _, b := range p.blocks {
		if !b.known {
			continue
		}
		b.lines++
		if _, ok := ruleWord(word); ok {
			name, _ := cut(rest)
			p.skipped[name] = true
			b.rules = append(b.rules, name)
		}
	}
}

// evalCondition decides an if: for this program (ours), or for SpamAssassin with all its plugins.
func (p *parser) evalCondition(text string, ours bool) (bool, error) {
	var b strings.Builder
	for text != "" {
		n := runLength(text, ":")
		if n == 0 {
			b.WriteByte(text[0])
			text = text[1:]
			continue
		}
		word := text[:n]
		text = text[n:]
		switch word {
		case "plugin", "can", "has":
			inner, rest, ok := parenthesised(strings.TrimLeft(text, " \t"))
			if !ok {
				return false, fmt.Errorf("can't read the condition: its lines are left out")
			}
			b.WriteString(digit(p.claims(word, inner, ours)))
			text = rest
		default:
			b.WriteString(p.conditionWord(word))
		}
	}
	e, err := parseExpr(b.String())
	if err != nil {
		return false, fmt.Errorf("can't read the condition: its lines are left out: %w", err)
	}
	return e.value(func(*expr) float64 { return 0 }) != 0, nil
}

// conditionWord is what a word of a condition stands for, itself if for nothing else.
func (p *parser) conditionWord(word string) string {
	switch word {
	case "version":
		return languageVersion
	case "perl_version":
		return perlVersion
	case "local_tests_only":
		return digit(!p.options.Network)
	}
	return word
}

// parenthesised parts a text into what stands in parentheses at the front, and the rest.
func parenthesised(text string) (inner, rest string, ok bool) {
	inner, rest, closed := strings.Cut(text, ")")
	inner, open := strings.CutPrefix(inner, "(")
	return strings.TrimSpace(inner), rest, open && closed
}

// runLength counts the characters of words, and the given ones, at the front.
func runLength(text, more string) (n int) {
	for n < len(text) && (isWord(text[n]) || strings.IndexByte(more, text[n]) >= 0) {
		n++
	}
	return n
}

func digit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// claims says whether a plugin or a feature is there.
func (p *parser) claims(word, name string, ours bool) bool {
	if word == "plugin" {
		name = pluginName(name)
		if !ours {
			return slices.Contains(standardPlugins(), name) || slices.Contains(foreignPlugins(), name) || p.asked(name)
		}
		return p.plugin(name)
	}
	return p.feature(strings.TrimPrefix(name, "Mail::SpamAssassin::"))
}

func (p *parser) plugin(name string) bool {
	if p.loaded != nil && !p.loaded[name] {
		return false
	}
	return slices.Contains(standardPlugins(), name) || slices.Contains(foreignPlugins(), name) || p.asked(name)
}

// asked says whether a line loads one of those that are not there without it.
func (p *parser) asked(name string) bool {
	return p.loaded[name] && slices.Contains(askedPlugins(), name)
}

// feature says whether something is there that rule files ask for by name.
func (p *parser) feature(name string) bool {
	if rest, ok := strings.CutPrefix(name, "Conf::"); ok {
		if compat, ok := strings.CutPrefix(rest, "compat_"); ok {
			return p.compat[compat]
		}
		return slices.Contains(confFeatures(), rest)
	}
	rest, ok := strings.CutPrefix(name, "Plugin::")
	if !ok {
		return false
	}
	plugin, feature, _ := strings.Cut(rest, "::")
	return p.plugin(pluginName(plugin)) && slices.Contains(pluginFeatures(), pluginName(plugin)+"::"+feature)
}

func confFeatures() []string {
	return []string{
		"feature_originating_ip_headers", "feature_dns_local_ports_permit_avoid", "feature_bayes_auto_learn_on_error", "feature_uri_host_listed",
		"feature_yesno_takes_args", "feature_bug6558_free", "feature_edns", "feature_dns_query_restriction", "feature_registryboundaries", "feature_geodb",
		"feature_dns_block_rule", "feature_compile_regexp", "feature_meta_rules_matching", "feature_subjprefix", "feature_bayes_stopwords", "feature_get_host",
		"feature_blocklist_welcomelist", "feature_welcomelist_blocklist", "feature_header_address_parser", "feature_local_tests_only",
		"feature_header_first_last", "feature_header_match_many", "feature_capture_rules", "has_tflags_nosubject", "has_tflags_nolog", "perl_min_version_5010000",
	}
}

func pluginFeatures() []string {
	return []string{
		"AskDNS::has_tag_header", "BodyEval::has_check_body_length", "BodyEval::has_plaintext_body_sig_ratio", "DKIM::has_arc", "DNSEval::has_tflags_domains_only",
		"DNSEval::has_tflags_ips_only", "HashBL::has_hashbl_bodyre", "HashBL::has_hashbl_emails", "HashBL::has_hashbl_uris",
		"HashBL::has_hashbl_ignore", "HashBL::has_hashbl_sha256", "HashBL::has_hashbl_attachments", "HashBL::has_hashbl_email_domain", "MIMEEval::has_check_for_ascii_text_illegal", "MIMEEval::has_check_abundant_unicode_ratio", "MIMEEval::has_check_qp_ratio",
		"MIMEHeader::has_all_header", "MIMEHeader::has_tflags_range", "MIMEHeader::has_tflags_concat", "MIMEHeader::has_tflags_multiple",
		"MIMEHeader::has_capture_rules", "SPF::has_check_for_spf_errors", "SPF::has_check_spf_skipped_noenvfrom", "URIDNSBL::has_tflags_domains_only",
		"URIDNSBL::has_subtest_for_ranges", "URIDNSBL::has_uridnsbl_for_a", "URIDNSBL::has_uridnsbl_a_ns", "URIDNSBL::has_tflags_notrim",
		"URIDNSBL::has_uridnsbl_skip_mailto", "URIDetail::has_host_key",
	}
}
