package eval

import (
	"strconv"
	"strings"

	"postern/rules/views"
)

func htmlFunctions() map[string]Func {
	return map[string]Func{
		"html_tag_balance": htmlTagBalance, "html_image_only": htmlImageOnly, "html_image_ratio": htmlImageRatio, "html_charset_faraway": htmlCharsetFaraway,
		"html_tag_exists": htmlTagExists, "html_test": htmlTest, "html_eval": htmlEval, "html_text_match": htmlTextMatch, "html_text_not_match": htmlTextNotMatch,
		"html_title_subject_ratio": htmlTitleSubjectRatio, "html_range": htmlRange, "check_iframe_src": checkIframeSrc,
	}
}

// anyPage says whether a condition holds for a part in HTML.
func (c *Context) anyPage(holds func(*views.Page) bool) float64 {
	for _, p := range c.Message.Pages() {
		if holds(p) {
			return 1
		}
	}
	return 0
}

func number(text string) float64 {
	n, _ := strconv.ParseFloat(strings.TrimSpace(text), 64)
	return n
}

// compare reads "> 3" and applies it.
func compare(value float64, expr string) bool {
	expr = strings.TrimSpace(expr)
	for _, op := range []string{"<=", ">=", "==", "!=", "<", ">"} {
		rest, ok := strings.CutPrefix(expr, op)
		if !ok {
			continue
		}
		with := number(rest)
		switch op {
		case "<=":
			return value <= with
		case ">=":
			return value >= with
		case "==":
			return value == with
		case "!=":
			return value != with
		case "<":
			return value < with
		}
		return value > with
	}
	return false
}

func htmlTagBalance(c *Context, args []string) float64 {
	return c.anyPage(func(p *views.Page) bool {
		n, met := p.Inside[arg(args, 0)]
		return met && compare(float64(n), arg(args, 1))
	})
}

func htmlImageOnly(c *Context, args []string) float64 {
	return c.anyPage(func(p *views.Page) bool {
		_, img := p.Inside["img"]
		n, _ := p.Number("length")
		return img && n > number(arg(args, 0)) && n <= number(arg(args, 1))
	})
}

func htmlImageRatio(c *Context, args []string) float64 {
	return c.anyPage(func(p *views.Page) bool {
		text, _ := p.Number("non_space_len")
		area, _ := p.Number("image_area")
		return area > 0 && text/area > number(arg(args, 0)) && text/area <= number(arg(args, 1))
	})
}

func htmlCharsetFaraway(c *Context, _ []string) float64 {
	if c.anyLocale() {
		return 0
	}
	return c.anyPage(func(p *views.Page) bool {
		good, bad := 0, 0
		for _, name := range strings.Fields(p.Charsets) {
			if c.localCharset(name) {
				good++
			} else {
				bad++
			}
		}
		return bad > 0 && bad >= good
	})
}

func htmlTagExists(c *Context, args []string) float64 {
	return c.anyPage(func(p *views.Page) bool {
		_, met := p.Inside[arg(args, 0)]
		return met
	})
}

func htmlTest(c *Context, args []string) float64 {
	return c.anyPage(func(p *views.Page) bool {
		n, ok := p.Number(arg(args, 0))
		return ok && n != 0
	})
}

func htmlEval(c *Context, args []string) float64 {
	return c.anyPage(func(p *views.Page) bool {
		n, ok := p.Number(arg(args, 0))
		return ok && compare(n, arg(args, 1))
	})
}

func htmlTextMatch(c *Context, args []string) float64 {
	re := c.pattern(arg(args, 1))
	return c.anyPage(func(p *views.Page) bool {
		for _, text := range p.Texts(arg(args, 0)) {
			if c.find(re, text) {
				return true
			}
		}
		return false
	})
}

func htmlTextNotMatch(c *Context, args []string) float64 {
	re := c.pattern(arg(args, 1))
	return c.anyPage(func(p *views.Page) bool {
		for _, text := range p.Texts(arg(args, 0)) {
			if re != nil && !c.find(re, text) {
				return true
			}
		}
		return false
	})
}

func htmlTitleSubjectRatio(c *Context, args []string) float64 {
	subject := c.text("Subject")
	if subject == "" {
		return 0
	}
	return c.anyPage(func(p *views.Page) bool {
		longest := 0
		for _, t := range p.Titles {
			longest = max(longest, len(t))
		}
		return float64(longest)/float64(len(subject)) > number(arg(args, 0))
	})
}

func htmlRange(c *Context, args []string) float64 {
	least, most := number(arg(args, 1)), arg(args, 2)
	return c.anyPage(func(p *views.Page) bool {
		n, ok := p.Number(arg(args, 0))
		return ok && n > least && (most == "" || most == "inf" || n <= number(most))
	})
}

func checkIframeSrc(c *Context, _ []string) float64 {
	return c.anyPage(func(p *views.Page) bool {
		for _, u := range p.URIs {
			for _, t := range u.Types {
				if t == "iframe" {
					return true
				}
			}
		}
		return false
	})
}
