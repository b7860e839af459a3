// Package confusable reads text by its looks: letters of other scripts that can't be told from Latin ones, ligatures and
// ornamental letters, and characters that show nothing (Unicode Technical Standard 39, the part that matters for mail).
package confusable

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxMarks is how many combining marks are left on a letter of a script that needs them.
const maxMarks = 3

// Fold gives the text as a reader takes it at a glance: compatibility forms made plain (NFKC), accents off Latin, Greek
// and Cyrillic letters, look-alikes as the ASCII letter they look like, and nothing invisible. Digits that stand for
// letters stay digits. The result has at most three combining marks in a row; it grows as NFKC does, at worst 18 times
// for a few characters. Text that has nothing to fold is given back as it is.
func Fold(text string) string {
	first := firstWide(text)
	if first == len(text) {
		return text
	}
	var b strings.Builder
	b.Grow(len(text))
	b.WriteString(text[:first])
	marks, accents, wide := 0, true, false
	for _, r := range norm.NFKD.String(text[first:]) {
		if r < utf8.RuneSelf {
			b.WriteByte(byte(r))
			marks, accents = 0, true
			continue
		}
		switch {
		case Invisible(r) || r == '\u034F': // the joiner that normalising a flood of marks puts between them
			continue
		case unicode.In(r, unicode.Mn, unicode.Me):
			if marks++; accents || marks > maxMarks {
				continue
			}
		default:
			plain := Letter(r)
			marks, accents = 0, plain < utf8.RuneSelf || unicode.In(r, unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.Common)
			r = plain
		}
		wide = wide || r >= utf8.RuneSelf
		b.WriteRune(r)
	}
	folded := b.String()
	if wide {
		folded = norm.NFC.String(folded)
	}
	return folded
}

func firstWide(text string) int {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return i
		}
	}
	return len(text)
}

// Invisible holds for characters that show nothing and part no words: zero-width characters, the soft hyphen, controls of
// the writing direction, variation selectors and tags.
func Invisible(r rune) bool {
	switch {
	case r == 0xAD, r == 0x061C, r == 0x115F, r == 0x1160, r == 0x17B4, r == 0x17B5, r == 0x3164, r == 0xFFA0, r == 0xFEFF:
		return true
	case r >= 0x180B && r <= 0x180F, r >= 0x200B && r <= 0x200F, r >= 0x202A && r <= 0x202E, r >= 0x2060 && r <= 0x206F:
		return true
	case r >= 0xFE00 && r <= 0xFE0F, r >= 0xFFF9 && r <= 0xFFFB, r >= 0xE0000 && r <= 0xE0FFF:
		return true
	}
	return false
}

// CountInvisible says how many such characters stand in a text.
func CountInvisible(text string) (n int) {
	for i := firstWide(text); i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if Invisible(r) {
			n++
		}
		i += size
	}
	return n
}

// Letter is the ASCII letter or digit that a character looks like in common fonts, or the character itself. Full-width,
// mathematical and accented letters are the business of NFKD, which comes before it.
func Letter(r rune) rune {
	if r < utf8.RuneSelf {
		return r
	}
	switch {
	case r >= 0x1F1E6 && r <= 0x1F1FF: // what flags are made of
		return r - 0x1F1E6 + 'A'
	case r >= 0x1F150 && r <= 0x1F169: // white in a black circle
		return r - 0x1F150 + 'A'
	case r >= 0x1F170 && r <= 0x1F189: // white in a black square
		return r - 0x1F170 + 'A'
	}
	if unicode.IsUpper(r) {
		return upper(r)
	}
	return lower(r)
}

func lower(r rune) rune {
	switch r {
	case 'а', 'ɑ', 'α', 'ᴀ', '⍺':
		return 'a'
	case 'б', 'ь', 'в', 'β', 'ʙ', 'ß':
		return 'b'
	case 'с', 'ϲ', 'ᴄ', '¢', 'ꮯ':
		return 'c'
	case 'ԁ', 'ɗ', 'đ', 'ᴅ', 'ꓒ':
		return 'd'
	case 'е', 'ҽ', 'є', 'ε', 'ᴇ', '℮', 'ɛ':
		return 'e'
	case 'ƒ', 'ғ', 'ꜰ', 'ꬵ':
		return 'f'
	case 'ɡ', 'ց', 'ɢ', 'ᶃ':
		return 'g'
	case 'һ', 'հ', 'н', 'ħ', 'ʜ', 'ђ', 'ћ':
		return 'h'
	case 'і', 'ι', 'ı', 'ї', 'ɩ', 'ɪ', 'ꙇ', 'ӏ', '׀', 'ו', 'ן', 'ا':
		return 'i'
	case 'ј', 'ϳ', 'ᴊ', 'յ':
		return 'j'
	case 'к', 'κ', 'ᴋ', 'қ', 'ҝ':
		return 'k'
	case 'ʟ', 'ł', 'ǀ', '‖', '∣', '⏽', 'ⅼ', 'ɫ', 'ɭ':
		return 'l'
	case 'м', 'ᴍ':
		return 'm'
	case 'ո', 'п', 'η', 'ɴ', 'ռ', 'ŋ':
		return 'n'
	case 'о', 'օ', 'ο', 'σ', 'ᴏ', 'ø', 'ס', 'ە', 'ഠ', '०', '੦', '໐', '๐', '〇', 'ɵ', 'ө':
		return 'o'
	case 'р', 'ρ', 'ᴘ', 'þ', 'ϱ':
		return 'p'
	case 'ԛ', 'գ', 'զ', 'ʠ':
		return 'q'
	case 'г', 'ʀ', 'ᴦ', 'ꭇ', 'ꮁ', 'ɾ':
		return 'r'
	case 'ѕ', 'ꜱ', 'ʂ':
		return 's'
	case 'т', 'τ', 'ᴛ', 'ŧ', 'ʈ':
		return 't'
	case 'υ', 'ս', 'ʋ', 'ц', 'ᴜ', 'ʊ', 'μ':
		return 'u'
	case 'ν', 'ѵ', 'ᴠ', 'ט', '∨', '⋁':
		return 'v'
	case 'ѡ', 'ԝ', 'ω', 'ш', 'ᴡ', 'ա', 'ɯ':
		return 'w'
	case 'х', 'χ', '×', '⤫', 'ҳ':
		return 'x'
	case 'у', 'γ', 'ү', 'ʏ', 'ყ', 'ɣ', 'ў':
		return 'y'
	case 'з', 'ᴢ', 'ʐ', 'ƶ':
		return 'z'
	case '․', '‧', '·', '・', '。', '｡':
		return '.'
	case '⁄', '∕', '⧸', '╱':
		return '/'
	case 'ː', '∶', '꞉', '։':
		return ':'
	case '‐', '‑', '‒', '–', '—', '−', '﹘':
		return '-'
	case '‘', '’', 'ʼ', '′', 'ʹ':
		return '\''
	case '“', '”', '″':
		return '"'
	}
	return r
}

func upper(r rune) rune {
	switch r {
	case 'А', 'Α':
		return 'A'
	case 'В', 'Β', 'Ь', 'Б':
		return 'B'
	case 'С', 'Ϲ':
		return 'C'
	case 'Đ', 'Ð', 'Ɖ':
		return 'D'
	case 'Е', 'Ε', 'Є', 'Ɛ':
		return 'E'
	case 'Ғ', 'Ƒ', 'Ϝ':
		return 'F'
	case 'Ԍ', 'Ɠ':
		return 'G'
	case 'Н', 'Η', 'Ħ':
		return 'H'
	case 'І', 'Ι', 'Ї', 'Ӏ', 'Ɩ':
		return 'I'
	case 'Ј', 'Ϳ':
		return 'J'
	case 'К', 'Κ', 'Қ':
		return 'K'
	case 'Ł':
		return 'L'
	case 'М', 'Μ', 'Ϻ':
		return 'M'
	case 'Ν', 'Ɲ':
		return 'N'
	case 'О', 'Ο', 'Օ', 'Ø', 'Θ', 'Ѳ', 'Ө':
		return 'O'
	case 'Р', 'Ρ':
		return 'P'
	case 'Ԛ':
		return 'Q'
	case 'Г', 'Я':
		return 'R'
	case 'Ѕ', 'Տ':
		return 'S'
	case 'Т', 'Τ', 'Ŧ':
		return 'T'
	case 'Ц', 'Ս':
		return 'U'
	case 'Ѵ':
		return 'V'
	case 'Ԝ', 'Ѡ', 'Ш':
		return 'W'
	case 'Х', 'Χ':
		return 'X'
	case 'У', 'Υ', 'Ү', 'Ў':
		return 'Y'
	case 'Ζ', 'З', 'Ƶ':
		return 'Z'
	}
	return r
}
