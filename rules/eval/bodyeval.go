package eval

import (
	"math"
	"regexp"
	"strings"

	"postern/rules/views"
)

func bodyFunctions() map[string]Func {
	return map[string]Func{
		"multipart_alternative_difference": alternativeDifference, "multipart_alternative_difference_count": alternativeDifferenceCount,
		"check_blank_line_ratio": blankLineRatio, "tvd_vertical_words": verticalWords, "check_stock_info": stockInfo,
		"check_body_length": func(c *Context, args []string) float64 {
			return truth(float64(len(c.Message.Pristine())) <= number(arg(args, 0)))
		},
		"plaintext_body_length": func(c *Context, args []string) float64 {
			return c.plainBetween(args, func(p plainBody) float64 { return p.body })
		},
		"plaintext_sig_length": func(c *Context, args []string) float64 {
			return c.plainBetween(args, func(p plainBody) float64 { return p.sig })
		},
		"plaintext_body_sig_ratio": func(c *Context, args []string) float64 {
			return c.plainBetween(args, func(p plainBody) float64 { return p.ratio })
		},
	}
}

// difference is how far the forms of a text differ: the share of words in HTML that the plain text lacks.
type difference struct{ share, html, text float64 }

func (c *Context) difference() difference {
	return once(c, "difference", func() (d difference) {
		alternatives := c.Message.Tree().Find(false, func(t string) bool { return strings.HasPrefix(t, "multipart/alternative") })
		if calendarMail(c.Message.Tree()) {
			return d
		}
		for _, a := range alternatives {
			html, text := wordsOf(a)
			if len(html) == 0 {
				continue
			}
			d.html, d.text = float64(len(html)), float64(len(text))
			missing := d.html
			for w, n := range text {
				if h, ok := html[w]; ok && h-n < 1 {
					missing--
				}
			}
			d.share = max(d.share, missing/d.html*100)
		}
		return d
	})
}

// wordsOf counts the words of the HTML and of the plain text of an alternative. HTML of an image alone counts as one word.
func wordsOf(alternative *views.Part) (html, text map[string]int) {
	html, text = map[string]int{}, map[string]int{}
	for _, p := range alternative.Find(false, func(t string) bool { return strings.HasPrefix(t, "text") }) {
		words, isHTML, ok := p.Rendered()
		switch {
		case !ok:
		case !isHTML:
			countWords(words, text)
		default:
			countWords(words, html)
			if len(html) == 0 && hasImage(p.Page()) {
				html["\n"] = 1
			}
		}
	}
	return html, text
}

func hasImage(page *views.Page) bool {
	if page == nil {
		return false
	}
	_, img := page.Inside["img"]
	return img
}

// calendarMail says whether a message is an invitation: HTML and a calendar as alternatives.
func calendarMail(root *views.Part) bool {
	return root.Type == "multipart/alternative" && len(root.Parts) == 2 && root.Parts[0].Type == "text/html" && root.Parts[1].Type == "text/calendar" &&
		root.Parts[0].Leaf() && root.Parts[1].Leaf()
}

func countWords(text string, into map[string]int) {
	for _, w := range strings.Fields(text) {
		if strings.ContainsFunc(w, inWords) {
			into[w]++
		}
	}
}

// inWords says whether a character is one of a word: of ASCII those of \w, beyond it all but points and guillemets.
func inWords(r rune) bool {
	if r < 0x80 {
		return isWordByte(byte(r))
	}
	return r >= 0xaa && r != 0xb7 && r != 0xab && r != 0xbb
}

func isWordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

func alternativeDifference(c *Context, args []string) float64 {
	d, least, most := c.difference().share, number(arg(args, 0)), arg(args, 1)
	return truth((least == 0 || d > least) && (most == "undef" || d <= number(most)))
}

func alternativeDifferenceCount(c *Context, args []string) float64 {
	d := c.difference()
	return truth(d.html > number(arg(args, 1)) && d.text/d.html > number(arg(args, 0)))
}

func blankLineRatio(c *Context, args []string) float64 {
	least, most, lines := number(arg(args, 0)), number(arg(args, 1)), max(1, number(arg(args, 2)))
	type count struct{ blank, all float64 }
	n := once(c, "blank", func() (n count) {
		for _, chunk := range c.Message.Raw() {
			for _, l := range strings.SplitAfter(chunk, "\n") {
				if n.all++; strings.Trim(l, " \t\n\r\f\v") == "" {
					n.blank++
				}
			}
			if strings.HasSuffix(chunk, "\n") { // what stands behind the last line end is no line
				n.all--
				n.blank--
			}
		}
		return n
	})
	ratio := -1.0
	if n.all >= lines {
		ratio = 100 * n.blank / n.all
	}
	return truth((least == 0 || ratio > least) && ratio <= most)
}

func verticalWords(c *Context, args []string) float64 {
	most := once(c, "vertical", func() float64 {
		most := -1
		for _, l := range c.Message.Body() {
			if len(l) <= 5 {
				continue
			}
			spaces := strings.Count(l, " ")
			share := 100
			if others := len(l) - spaces; spaces <= others && others > 0 {
				share = 100 * spaces / others
			}
			most = max(most, share)
		}
		return float64(most)
	})
	below := number(arg(args, 1))
	if below >= 100 {
		below = 101
	}
	return truth(most >= number(arg(args, 0)) && most < below)
}

var (
	infoLine = regexp.MustCompile(`(?m)^\s*([^:\s][^:\n]{2,29})\s*:\s*\S`)
	stockKey = regexp.MustCompile(`(^trad(?:e|ing)date|company(?:name)?|s\w?(?:t\w?o\w?c\w?k|y\w?m(?:\w?b\w?o\w?l)?)|t(?:arget|icker)|(?:opening|current)p(?:rice)?|p(?:rojected|osition)|expectations|weeks?high|marketperformance|(?:year|week|month|day|price)(?:target|estimates?)|sector|r(?:ecommendation|ating))$`)
)

// stockInfo counts the kinds of lines that praise shares.
func stockInfo(c *Context, args []string) float64 {
	n := once(c, "stock", func() int {
		parts := c.Message.Tree().Find(false, func(t string) bool { return t == "text/plain" })
		found := map[string]bool{}
		if len(parts) == 0 {
			return 0
		}
		text, _, _ := parts[0].Rendered()
		for _, chunk := range views.Chunks(text) {
			for _, m := range infoLine.FindAllStringSubmatch(chunk, -1) {
				key := strings.Map(func(r rune) rune {
					if r >= 'a' && r <= 'z' {
						return r
					}
					return -1
				}, strings.ToLower(m[1]))
				if k := stockKey.FindString(key); k != "" {
					found[k] = true
				}
			}
		}
		return len(found)
	})
	least := number(arg(args, 0))
	return truth(least == 0 || float64(n) >= least)
}

// plainBody is the length of the first plain text, and of the signature below it.
type plainBody struct {
	there            bool
	body, sig, ratio float64
}

var sigMark = regexp.MustCompile(`(?m)^-- ?\r?$`)

func (c *Context) plainBetween(args []string, of func(plainBody) float64) float64 {
	p := once(c, "plain", func() (p plainBody) {
		parts := c.Message.Tree().Find(false, func(t string) bool { return strings.HasPrefix(t, "text/plain") })
		if len(parts) == 0 {
			return p
		}
		text := parts[0].Decode()
		p = plainBody{there: true, body: float64(len(text)), ratio: 1e6}
		for _, at := range sigMark.FindAllStringIndex(text, -1) {
			if len(text)-at[1] > 4 {
				p.body, p.sig = float64(at[0]), float64(len(text)-at[1])
			}
		}
		if p.sig > 0 {
			p.ratio = p.body / p.sig
		}
		return p
	})
	most := math.Inf(1)
	if m := arg(args, 1); m != "" {
		most = number(m)
	}
	v := of(p)
	return truth(p.there && v >= number(arg(args, 0)) && v <= most)
}
