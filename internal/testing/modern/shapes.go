package modern

import (
	"slices"
	"strings"
)

// A file of shapes:
//
//	==== SHAPE
//	key: value
//	---- LANGUAGE
//	key: value
//
//	the text, marked up as in markup.go
//
// A row has the keys of its mailer, of its shape and its own, the later in place of the earlier; attach, field and inline
// add up. "vary: a=1 , b=2 | a=3 , b=4" makes a message for each set of values. In values, texts and templates {key}
// stands for the value; fill.go has what is made up.
//
//	mailer, layout    templates
//	from, to, reply-to, subject, pre (the preheader), envelope (MAIL FROM, "<>" is a bounce), helo
//	spf               pass (default), fail, softfail, none
//	sign              "domain/selector" of DKIM signatures, several in a row; "-" is none
//	break             yes: changed after it was signed
//	dmarc             the policy of From's domain, absent if there is none
//	form              text, html, alt, raw (the text is the body, content-type says of what)
//	cte, charset      qp, b64, 8bit, 7bit, none (says nothing), least (as the text needs it); the charset of the text
//	words             b, q or raw: how words outside of ASCII stand in fields; wordset is their charset
//	track             what each link of the HTML leads to instead
//	attach, inline    files: "KIND ; name=NAME ; key=value"
//	rdns              no: the client's address has no name
//	mx                no: From's domain has no MX
type keys map[string]string

// section is what stands below a title.
type section struct{ title, text string }

func sections(text, mark string) (all []section) {
	parts := strings.Split("\n"+text, "\n"+mark)
	for _, part := range parts[1:] {
		title, rest, _ := strings.Cut(part, "\n")
		all = append(all, section{strings.TrimSpace(title), rest})
	}
	return all
}

// readKeys reads the keys in front, and the text behind an empty line.
func readKeys(text string) (keys, string) {
	k := keys{}
	for text != "" {
		line, rest, _ := strings.Cut(text, "\n")
		text = rest
		if strings.TrimSpace(line) == "" {
			return k, text
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.HasPrefix(line, "---- ") {
			return k, text
		}
		k.add(name, strings.TrimSpace(value))
	}
	return k, ""
}

// add sets a key; those that may occur often get one more line.
func (k keys) add(name, value string) {
	if old, ok := k[name]; ok && slices.Contains([]string{"attach", "inline", "field", "vary"}, name) {
		value = old + "\n" + value
	}
	k[name] = value
}

func (k keys) over(base keys) keys {
	all := keys{}
	for name, value := range base {
		all.add(name, value)
	}
	for name, value := range k {
		all.add(name, value)
	}
	return all
}

// variants are the keys of each message of a row.
func variants(shape, row keys) []keys {
	all := []keys{row.over(shape)}
	for line := range strings.SplitSeq(all[0]["vary"], "\n") {
		if line == "" {
			continue
		}
		var next []keys
		for _, k := range all {
			for values := range strings.SplitSeq(line, " | ") {
				next = append(next, pairs(values, " , ").over(k))
			}
		}
		all = next
	}
	return all
}

func pairs(text, mark string) keys {
	k := keys{}
	for pair := range strings.SplitSeq(text, mark) {
		name, value, _ := strings.Cut(pair, "=")
		k[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return k
}

// template is a mailer or a layout.
type template struct {
	keys keys
	text string
}

func templates(file string) (map[string]template, error) {
	text, err := testdata.ReadFile(file)
	if err != nil {
		return nil, err
	}
	all := map[string]template{}
	for _, s := range sections(string(text), "==== ") {
		k, rest := readKeys(s.text)
		all[s.title] = template{k, strings.TrimRight(rest, "\n")}
	}
	return all, nil
}
