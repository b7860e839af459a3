package views

import "strings"

// officeTag says whether a tag is of the name spaces of office programs.
func officeTag(name string) bool {
	front, rest, ok := strings.Cut(name, ":")
	if !ok || !officeSpace(front) {
		return false
	}
	rest = strings.TrimSuffix(rest, "/")
	for i := range len(rest) {
		if !isWordByte(rest[i]) && rest[i] != '-' {
			return false
		}
	}
	return rest != ""
}

// officeSpace says whether a name space is of office programs: o, or st and a digit.
func officeSpace(name string) bool {
	digit, smart := strings.CutPrefix(name, "st")
	return name == "o" || smart && len(digit) == 1 && isDigit(digit[0])
}

const (
	knownElements      = " a abbr acronym address area b base bdo big blockquote body br button caption cite code col colgroup dd del dfn div dl dt em fieldset form h1 h2 h3 h4 h5 h6 head hr html i img input ins kbd label legend li link map meta noscript object ol optgroup option p param pre q samp script select small span strong style sub sup table tbody td textarea tfoot th thead title tr tt ul var applet basefont center dir font frame frameset iframe isindex menu noframes s strike u nobr x-sigsep x-tab "
	trickElements      = " bgsound embed listing plaintext xmp "
	styledElements     = " body font table tr th td big small basefont marquee span p div a "
	whitespaceElements = " br div li th td dt dd p hr blockquote pre embed listing plaintext xmp title h1 h2 h3 h4 h5 h6 "
	linkElements       = " body table tr td a area link img frame iframe embed script form base bgsound meta "
)

func oneOf(list, name string) bool {
	return name != "" && !strings.Contains(name, " ") && strings.Contains(list, " "+name+" ")
}
