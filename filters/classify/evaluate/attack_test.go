package evaluate

import (
	"strings"
	"testing"

	"postern/internal/mail"
)

// An attack keeps the header and the text of spam, and adds words that only honest mail has.
func TestAttacks(t *testing.T) {
	letter := "The minutes of the last meeting of the committee are attached, please send me your corrections until Thursday. " + strings.Repeat("Thanks for all the work. ", 8)
	a := NewAttacker([]string{letter, letter, letter, letter, letter}, []string{"buy the pills now"})
	spam := mail.NewMessage([]byte("From: a@b.example\r\nContent-Type: text/html\r\nSubject: now\r\n\r\n<b>buy</b>\r\n"))
	var raw [Attacks]string
	for how := range Attacks {
		raw[how] = string(a.Alter(spam.Header(), "buy the pills", how, 7))
		if again := string(a.Alter(spam.Header(), "buy the pills", how, 7)); again != raw[how] {
			t.Errorf("%v: another message with the same seed", how)
		}
		if h := mail.NewMessage([]byte(raw[how])).Header(); h.Get("Subject") != "now" || !strings.HasPrefix(h.Get("Content-Type"), "text/plain") || h.Count("Content-Type") != 1 {
			t.Errorf("%v: header %q", how, raw[how])
		}
		if !strings.Contains(raw[how], "buy the pills") {
			t.Errorf("%v: the text of the spam is gone: %q", how, raw[how])
		}
	}
	body := func(how Attack) string { return raw[how][strings.Index(raw[how], "\r\n\r\n")+4:] }
	if len(strings.Fields(body(NoWords))) != 3 || len(strings.Fields(body(Words100))) != 103 || len(strings.Fields(body(Words500))) != 503 {
		t.Errorf("%d, %d and %d words", len(strings.Fields(body(NoWords))), len(strings.Fields(body(Words100))), len(strings.Fields(body(Words500))))
	}
	if !strings.HasPrefix(body(Appended), "buy") || !strings.Contains(body(Appended), "The minutes") || !strings.HasPrefix(body(Prepended), "The minutes") {
		t.Errorf("%q, %q", body(Appended), body(Prepended))
	}
}
