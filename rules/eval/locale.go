package eval

import "strings"

// anyLocale says whether texts in all languages are welcome.
func (c *Context) anyLocale() bool {
	for _, l := range c.locales() {
		if l == "all" {
			return true
		}
	}
	return false
}

func (c *Context) locales() []string {
	if w := c.Config.Words["ok_locales"]; w != "" {
		return strings.Fields(w)
	}
	return []string{"all"}
}

// localCharset says whether a charset is of a language that is welcome.
func (c *Context) localCharset(name string) bool {
	name = strings.TrimPrefix(strings.Map(capitalOrDigit, strings.ToUpper(name)), "3D")
	for _, front := range []string{"USASCII", "ASCII", "ISO8859", "ISO10646", "UTF", "UCS", "CP125", "WINDOWS", "IBM852", "UNICODE11UTF", "XUNKNOWN"} {
		if strings.HasPrefix(name, front) {
			return true
		}
	}
	if name == "ISO" {
		return true
	}
	for _, l := range c.locales() {
		if strings.Contains(" "+charsetsOf(l[:min(2, len(l))])+" ", " "+name+" ") {
			return true
		}
	}
	return false
}

// capitalOrDigit keeps capitals and digits, for strings.Map.
func capitalOrDigit(r rune) rune {
	switch {
	case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return r
	}
	return -1
}

// charsetsOf are the charsets of a language.
func charsetsOf(language string) string {
	switch language {
	case "ja":
		return "EUCJP JISX020119760 JISX020819830 JISX020819900 JISX020819970 JISX021219900 JISX021320001 JISX021320002 SHIFTJIS ISO2022JP SJIS JIS7 JISX0201 JISX0208 JISX0212"
	case "ko":
		return "EUCKR KSC56011987"
	case "ru", "ka", "tg", "be", "uk", "bg":
		return "KOI8R KOI8U KOI8T ISOIR111 CP1251 GEORGIANPS PT154 CP866"
	case "th":
		return "TIS620"
	case "zh":
		return "GB1988 GB2312 GB231219800 GB18030 GBK BIG5HKSCS BIG5 EUCTW ISO2022CN"
	}
	return ""
}

// capsCharset says whether text in a charset looks as if in capitals when it is read as ASCII.
func capsCharset(name string) bool {
	name = strings.ToLower(name)
	for i := range len(name) {
		if c := name[i]; c != '-' && !isWordByte(c) {
			return false
		}
	}
	for _, part := range []string{"koi", "jp", "jis", "euc", "gb", "big5", "isoir", "cp1251", "windows-1251", "georgianps", "pt154", "tis"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}
