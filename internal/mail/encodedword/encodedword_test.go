package encodedword

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDecode(t *testing.T) {
	for value, want := range map[string]string{
		"plain":                                     "plain",
		"=?utf-8?Q?J=C3=BCr?= =?utf-8?Q?gen?= X":    "Jürgen X",
		"=?utf-8?B?SsO8?=\t=?UTF-8?b?cmdlbg==?=":    "Jürgen",
		"=?utf-8?B?SsM=?= =?utf-8?B?vHJnZW4=?=":     "Jürgen", // a character cut in two
		"=?windows-1252?Q?boss=40rcpt.example?=":    "boss@rcpt.example",
		"=?gb2312?B?1cXI/Q==?=":                     "张三",
		"=?utf-7?Q?boss+AEA-rcpt.example?=":         "boss@rcpt.example",
		"\"=?utf-8?Q?boss=40rcpt.example?=\"":       "\"boss@rcpt.example\"",
		"x=?utf-8?Q?y?=z":                           "xyz",
		"=?utf-8?Q?with spaces here?=":              "with spaces here",
		"=?utf-8*en?Q?language?=":                   "language",
		"=?utf-8?B?Ym9zcw?=":                        "boss", // no padding
		"=?utf-8?B?Ym9zcw====?=":                    "boss",
		"=?nobody-knows?Q?=E9t=E9?=":                "été",
		"=?utf-8?X?what?=":                          "=?utf-8?X?what?=",
		"=?utf-8?Q?open":                            "=?utf-8?Q?open",
		"=?":                                        "=?",
		"=?=?=?utf-8?Q?a?=":                         "=?=?a",
		"a =?utf-8?Q?b?= c =?utf-8?Q?d?= =?x?Q?e?=": "a b c de",
		"caf\xe9":           "café",
		"=?ibm037?B?gpai?=": "bos",
	} {
		if got := Decode(value); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"=?utf-8?Q?J=C3=BCr?= =?utf-8?Q?gen?=", "=?gb2312?B?1cXI/Q==?=", "=?utf-7?Q?+AEA-?=", "=?=?=?q?q?q?="} {
		f.Add(s)
	}

	f.Fuzz(func(t *testing.T, value string) {
		if got := Decode(value); !utf8.ValidString(got) || len(got) > 4*len(value)+8 {
			t.Errorf("%q: %q", value, got)
		}
	})
}

func TestDecodeIsBounded(t *testing.T) {
	for _, piece := range []string{"=?", "=?utf-8?q?", "=?utf-8?q?a?= ", "=?a?b?"} {
		Decode(strings.Repeat(piece, 1<<20/len(piece)))
	}
}
