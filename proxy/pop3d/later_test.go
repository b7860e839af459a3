package pop3d_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/proxy/access"
	"postern/proxy/pop3d"
)

// A unique-id that the server gives to another message later shows nothing of that, by RETR and by TOP.
func TestAnIdThatIsUsedAgain(t *testing.T) {
	head := "From: a@b.example\r\nMessage-ID: <%d@b.example>\r\n\r\n"
	first, second := fmt.Sprintf(head, 1)+"hello\r\n", fmt.Sprintf(head, 2)+"evil words\r\n"
	for _, command := range []string{"RETR 1", "TOP 1 99"} {
		drop := newMaildrop(t, []string{first})
		h := newHouse(t, access.Backend{Address: drop.address, Name: "same"}, nil)
		talk := func(address string) string {
			conn, in := logIn(t, address)
			fmt.Fprint(conn, "UIDL\r\n"+command+"\r\nQUIT\r\n")
			said, err := io.ReadAll(in)
			if err != nil {
				t.Fatal(err)
			}
			return string(said)
		}
		for range 2 {
			if said := talk(h.address); !strings.Contains(said, "hello") {
				t.Fatal(said)
			}
		}
		drop.replace([]string{second})
		if said := talk(h.address); strings.Contains(said, "evil") || !strings.Contains(said, "This messa") {
			t.Errorf("%s: %s", command, said)
		}
	}
}

// A client that heard the beginning of a message that can't be judged is broken off: it has no message.
func TestTooLateToSayLater(t *testing.T) {
	drop := newMaildrop(t, []string{"From: a@b.example\r\nSubject: x\r\n\r\naway\r\n"})
	h := newHouse(t, access.Backend{Address: drop.address}, func(o *pop3d.Options) { o.Progress, o.Patience = 10*time.Millisecond, 20*time.Millisecond })
	h.judging = 200 * time.Millisecond
	conn, in := logIn(t, h.address)
	fmt.Fprint(conn, "RETR 1\r\nNOOP\r\n")
	said, _ := io.ReadAll(in)
	if text := string(said); !strings.HasPrefix(text, "+OK") || strings.Contains(text, "away") || strings.Contains(text, "\r\n.\r\n") {
		t.Errorf("%q", text)
	}
}

// A disk that is full is our fault: the client comes again, the log says why.
func TestNoRoomToSpool(t *testing.T) {
	large := "From: a@b.example\r\n\r\n" + strings.Repeat("hello hello\r\n", 100_000)
	drop := newMaildrop(t, []string{large, "From: a@b.example\r\n\r\nhello\r\n"})
	gone := filepath.Join(t.TempDir(), "gone")
	h := newHouse(t, access.Backend{Address: drop.address}, func(o *pop3d.Options) { o.SpoolDir = gone })
	conn, in := logIn(t, h.address)
	fmt.Fprint(conn, "RETR 1\r\nRETR 2\r\nQUIT\r\n")
	said, _ := io.ReadAll(in)
	if text := string(said); !strings.HasPrefix(text, "-ERR [SYS/TEMP]") || !strings.Contains(text, "\r\nhello\r\n.\r\n") || !strings.HasSuffix(text, "+OK bye\r\n") {
		t.Errorf("%.300q", text)
	}
	if _, err := os.Stat(gone); err == nil || !strings.Contains(h.log.String(), "can't be spooled") {
		t.Error("the log does not say why")
	}
}
