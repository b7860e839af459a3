package ascii

import (
	"strings"
	"testing"
)

func TestClassesHoldTheirOctetsAndNoOthers(t *testing.T) {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	classes := map[string]struct {
		is  func(byte) bool
		all string
	}{
		"digit":  {IsDigit, "0123456789"},
		"letter": {IsLetter, letters},
		"alnum":  {IsAlnum, "0123456789" + letters},
		"blank":  {IsBlank, " \t"},
		"eol":    {IsEOL, "\r\n"},
		"space":  {IsSpace, " \t\r\n"},
		"hex":    {func(c byte) bool { return HexValue(c) >= 0 }, "0123456789abcdefABCDEF"},
	}
	for name, class := range classes {
		for c := range 256 {
			if want := strings.IndexByte(class.all, byte(c)) >= 0; class.is(byte(c)) != want {
				t.Errorf("%s: %q is %v", name, byte(c), !want)
			}
		}
	}
	if HexValue('7') != 7 || HexValue('f') != 15 || HexValue('A') != 10 {
		t.Error("a hexadecimal digit has another value")
	}
	if !AllDigits("0190") || AllDigits("01a") || !AllDigits([]byte(nil)) {
		t.Error("AllDigits")
	}
	if !IsControl(0) || !IsControl(0x7f) || IsControl(' ') || IsControl(0x80) {
		t.Error("IsControl")
	}
}

func TestLowerKeepsTheLength(t *testing.T) {
	for text, want := range map[string]string{"": "", "abc": "abc", "aBC\xff\u0130Z[@": "abc\xff\u0130z[@"} {
		if got := Lower(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}
