package views

import (
	"html"
	"strconv"
	"strings"
	"unicode/utf8"
)

// latinEntities are known without a semicolon behind them, and as the front of a longer word.
const latinEntities = " amp gt lt quot apos AElig Aacute Acirc Agrave Aring Atilde Auml Ccedil ETH Eacute Ecirc Egrave Euml Iacute Icirc Igrave Iuml Ntilde Oacute Ocirc Ograve Oslash Otilde Ouml THORN Uacute Ucirc Ugrave Uuml Yacute aacute acirc aelig agrave aring atilde auml ccedil eacute ecirc egrave eth euml iacute icirc igrave iuml ntilde oacute ocirc ograve oslash otilde ouml szlig thorn uacute ucirc ugrave uuml yacute yuml copy reg nbsp iexcl cent pound curren yen brvbar sect uml ordf laquo not shy macr deg plusmn sup1 sup2 sup3 acute micro para middot cedil ordm raquo frac14 frac12 frac34 iquest times divide "

// otherEntities need their semicolon (HTML 4.01 section 24).
const otherEntities = " OElig oelig Scaron scaron Yuml fnof circ tilde Alpha Beta Gamma Delta Epsilon Zeta Eta Theta Iota Kappa Lambda Mu Nu Xi Omicron Pi Rho Sigma Tau Upsilon Phi Chi Psi Omega alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigmaf sigma tau upsilon phi chi psi omega thetasym upsih piv ensp emsp thinsp zwnj zwj lrm rlm ndash mdash lsquo rsquo sbquo ldquo rdquo bdquo dagger Dagger bull hellip permil prime Prime lsaquo rsaquo oline frasl euro image weierp real trade alefsym larr uarr rarr darr harr crarr lArr uArr rArr dArr hArr forall part exist empty nabla isin notin ni prod sum minus lowast radic prop infin ang and or cap cup int there4 sim cong asymp ne equiv le ge sub sup nsub sube supe oplus otimes perp sdot lceil rceil lfloor rfloor lang rang loz spades clubs hearts diams "

// decodeEntities decodes the character references that HTML 4 knows. What is none stays.
func decodeEntities(text string) string {
	i := strings.IndexByte(text, '&')
	if i < 0 {
		return text
	}
	var b strings.Builder
	b.Grow(len(text))
	for i >= 0 {
		b.WriteString(text[:i])
		decoded, n := entity(text[i:])
		if n == 0 {
			decoded, n = "&", 1
		}
		b.WriteString(decoded)
		text = text[i+n:]
		i = strings.IndexByte(text, '&')
	}
	b.WriteString(text)
	return b.String()
}

func entity(text string) (decoded string, size int) {
	if len(text) > 1 && text[1] == '#' {
		return numericEntity(text)
	}
	n := 1 + wordRun(text[1:], 32)
	name := text[1:n]
	if name == "" {
		return "", 0
	}
	if stands(text, n, ';') && (strings.Contains(otherEntities, " "+name+" ") || strings.Contains(latinEntities, " "+name+" ")) {
		return named(name), n + 1
	}
	for end := len(name); end > 1; end-- {
		if strings.Contains(latinEntities, " "+name[:end]+" ") {
			return named(name[:end]), end + 1
		}
	}
	return "", 0
}

// named gives a character by name. HTML 5 moved two brackets; HTML 4 has them where they were.
func named(name string) string {
	switch name {
	case "lang":
		return "\u2329"
	case "rang":
		return "\u232a"
	}
	return html.UnescapeString("&" + name + ";")
}

func numericEntity(text string) (decoded string, size int) {
	n, base := 2, 10
	if stands(text, n, 'x') || stands(text, n, 'X') {
		n, base = 3, 16
	}
	start := n
	for n < len(text) && hexValue(text[n]) >= 0 && hexValue(text[n]) < base {
		n++
	}
	code, err := strconv.ParseUint(text[start:n], base, 32)
	if err != nil || code == 0 || code > utf8.MaxRune {
		return "", 0
	}
	if stands(text, n, ';') {
		n++
	}
	return string(rune(code)), n
}
