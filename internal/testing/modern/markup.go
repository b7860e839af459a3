package modern

import (
	"html"
	"regexp"
	"strings"
)

// The texts' marks, each block between empty lines:
//
//	# heading      - item      | cell | cell |      > quoted      ***      (a rule)
//	[text](target)   a link; alone and doubled, [[text]](target), a button
//	![alternative](source)   a picture; as [![alternative](source)](target) a linked one
//	!html MARKUP, !text TEXT   what only one of the two versions has
//	!hide STYLE|TEXT           text in HTML that the style hides
//	!qrtable URL, !qrtext URL, !qrdata URL   a QR code drawn with cells, with block letters, as a data: picture
var (
	linkMark    = regexp.MustCompile(`\[([^\]\[]+)\]\(([^)\s]+)\)`)
	buttonMark  = regexp.MustCompile(`^\[\[([^\]]+)\]\]\((\S+)\)$`)
	pictureMark = regexp.MustCompile(`^(?:\[)?!\[([^\]]*)\]\(([^)\s]+)\)(?:\]\((\S+)\))?$`)
	bareURL     = regexp.MustCompile(`(^|[\s(])(https?://[^\s<>")]+)`)
)

// plain is the text version.
func (c *composer) plain(text string) string {
	var out []string
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		switch word, rest, _ := strings.Cut(line, " "); {
		case word == "!html", word == "!hide", word == "!qrtable", word == "!qrdata":
			continue
		case word == "!text":
			line = rest
		case word == "!qrtext":
			line = c.qrText(rest)
		case word == "#":
			line = strings.ToUpper(rest)
		case strings.HasPrefix(line, "|"):
			line = strings.TrimSpace(strings.ReplaceAll(strings.Trim(line, "| "), " | ", "    "))
		}
		if b := buttonMark.FindStringSubmatch(line); b != nil {
			line = b[1] + ": " + b[2]
		} else if p := pictureMark.FindStringSubmatch(line); p != nil {
			line = strings.TrimSpace("[" + p[1] + "] " + p[3])
		}
		line = linkMark.ReplaceAllStringFunc(line, func(found string) string {
			p := linkMark.FindStringSubmatch(found)
			if p[1] == p[2] || strings.TrimPrefix(p[2], "mailto:") == p[1] {
				return p[1]
			}
			return p[1] + " <" + p[2] + ">"
		})
		out = append(out, line)
	}
	return strings.Join(out, "\n") + "\n"
}

// look is how a layout writes blocks; %s is the text, %u the target.
func (c *composer) look(layout template, name string) string {
	if form, ok := layout.keys[name]; ok {
		return form
	}
	return map[string]string{
		"p": "<p>%s</p>", "h": "<h2>%s</h2>", "a": `<a href="%u">%s</a>`, "button": `<p><a href="%u">%s</a></p>`,
		"img": `<img src="%u" alt="%s">`, "quote": `<blockquote type="cite">%s</blockquote>`, "rule": "<hr>",
		"table": `<table cellpadding="4">%s</table>`, "row": "<tr>%s</tr>", "cell": "<td>%s</td>", "br": "<br>\n",
		"list": "<ul>%s</ul>", "item": "<li>%s</li>",
	}[name]
}

func formed(form, text, target string) string {
	return strings.NewReplacer("%s", text, "%u", target).Replace(form)
}

// markup is the HTML of the blocks.
func (c *composer) markup(layout template, text string) string {
	var out []string
	for block := range strings.SplitSeq(strings.Trim(text, "\n"), "\n\n") {
		if s := c.block(layout, strings.Trim(block, "\n")); s != "" {
			out = append(out, s)
		}
	}
	return strings.Join(out, "\n")
}

func (c *composer) block(layout template, block string) string {
	word, rest, _ := strings.Cut(block, " ")
	if special, ok := c.special(word, rest); ok {
		return special
	}
	if b := buttonMark.FindStringSubmatch(block); b != nil {
		return formed(c.look(layout, "button"), html.EscapeString(b[1]), html.EscapeString(c.tracked(b[2])))
	}
	if p := pictureMark.FindStringSubmatch(block); p != nil {
		img := formed(c.look(layout, "img"), html.EscapeString(p[1]), p[2])
		if p[3] != "" {
			img = `<a href="` + html.EscapeString(c.tracked(p[3])) + `">` + img + "</a>"
		}
		return img
	}
	switch {
	case block == "***":
		return c.look(layout, "rule")
	case word == "#":
		return formed(c.look(layout, "h"), c.inline(layout, rest), "")
	case word == "-", strings.HasPrefix(block, "|"):
		return c.lines(layout, block)
	case word == ">":
		quoted := strings.ReplaceAll(strings.TrimPrefix(block, "> "), "\n> ", "\n")
		return formed(c.look(layout, "quote"), c.inline(layout, quoted), "")
	}
	return formed(c.look(layout, "p"), c.inline(layout, block), "")
}

func (c *composer) special(word, rest string) (string, bool) {
	switch word {
	case "!html":
		return strings.ReplaceAll(rest, "\n!html ", "\n"), true
	case "!text":
		return "", true
	case "!hide":
		style, text, _ := strings.Cut(rest, "|")
		return `<div style="` + style + `">` + html.EscapeString(text) + "</div>", true
	case "!qrtable":
		return c.qrTable(rest), true
	case "!qrtext":
		return `<pre style="font-family:monospace;font-size:8px;line-height:8px;letter-spacing:0">` + c.qrText(rest) + "</pre>", true
	case "!qrdata":
		return `<img src="data:image/png;base64,` + c.qrBase64(rest) + `" width="180" height="180">`, true
	}
	return "", false
}

// lines are lists and tables.
func (c *composer) lines(layout template, block string) string {
	var items strings.Builder
	outer := "list"
	for line := range strings.SplitSeq(block, "\n") {
		if strings.HasPrefix(line, "|") {
			outer = "table"
			var cells strings.Builder
			for cell := range strings.SplitSeq(strings.Trim(line, "| "), " | ") {
				cells.WriteString(formed(c.look(layout, "cell"), c.inline(layout, cell), ""))
			}
			items.WriteString(formed(c.look(layout, "row"), cells.String(), "") + "\n")
			continue
		}
		items.WriteString(formed(c.look(layout, "item"), c.inline(layout, strings.TrimPrefix(line, "- ")), "") + "\n")
	}
	return formed(c.look(layout, outer), items.String(), "")
}

// inline is text with links and line ends.
func (c *composer) inline(layout template, text string) string {
	var out strings.Builder
	for {
		at := linkMark.FindStringSubmatchIndex(text)
		if at == nil {
			break
		}
		out.WriteString(c.escaped(layout, text[:at[0]]))
		out.WriteString(formed(c.look(layout, "a"), html.EscapeString(text[at[2]:at[3]]), html.EscapeString(c.tracked(text[at[4]:at[5]]))))
		text = text[at[1]:]
	}
	return out.String() + c.escaped(layout, text)
}

func (c *composer) escaped(layout template, text string) string {
	text = html.EscapeString(text)
	if c.keys["autolink"] == "yes" {
		text = bareURL.ReplaceAllString(text, `$1<a href="$2">$2</a>`)
	}
	return strings.ReplaceAll(text, "\n", c.look(layout, "br"))
}

// tracked is a link as the sender's platform counts it.
func (c *composer) tracked(target string) string {
	if track := c.keys["track"]; track != "" && track != "-" && strings.HasPrefix(target, "http") {
		return c.fill(track)
	}
	return target
}

// page is the HTML version: the layout around the blocks.
func (c *composer) page(text string) (string, error) {
	name := c.keys["layout"]
	layout, ok := c.builder.layouts[name]
	if !ok {
		return "", unknown("layout", name)
	}
	content := c.fill(c.markup(layout, text))
	page := c.fill(layout.text)
	return strings.ReplaceAll(page, "%content%", content), nil
}
