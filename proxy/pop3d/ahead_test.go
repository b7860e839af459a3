package pop3d_test

import (
	"bufio"
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/proxy/access"
)

// What a client fetches in a row, one after the other or many at once, comes in its order, each as its own judgement says,
// and takes a fraction of the time of all judgements.
func TestJudgedAhead(t *testing.T) {
	const messages, pause = 60, 50 * time.Millisecond
	var all []string
	for n := 1; n <= messages; n++ {
		text := map[int]string{3: "evil", 7: "away"}[n%10]
		all = append(all, fmt.Sprintf("From: a@b.example\r\nSubject: number %d.\r\n\r\n%s good-%d.\r\n", n, text, n))
	}
	for name, limit := range map[string]int{"in turn": 1, "pipelined": 16} {
		t.Run(name, func(t *testing.T) {
			drop := newMaildrop(t, all)
			h := newHouse(t, access.Backend{Address: drop.address}, nil)
			h.judging = pause
			conn, _ := dialLine(t, h.address)
			in := bufio.NewReader(conn)
			line := func() string {
				text, err := in.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				return strings.TrimSuffix(text, "\r\n")
			}
			line()
			fmt.Fprint(conn, "USER c@d.example\r\n")
			line()
			fmt.Fprint(conn, "PASS c4nary\r\n")
			line()
			fmt.Fprint(conn, "UIDL\r\n")
			for line() != "." {
			}
			begun := time.Now()
			for n := 1; n <= messages; n += limit {
				last := min(n+limit-1, messages)
				batch := ""
				for i := n; i <= last; i++ {
					batch += fmt.Sprintf("RETR %d\r\n", i)
				}
				fmt.Fprint(conn, batch)
				for i := n; i <= last; i++ {
					status, text := line(), ""
					if strings.HasPrefix(status, "+OK") {
						for one := line(); one != "."; one = line() {
							text += one + "\n"
						}
					}
					good := strings.Contains(text, fmt.Sprintf("good-%d.", i))
					switch i % 10 {
					case 7:
						if !strings.HasPrefix(status, "-ERR [SYS/TEMP]") {
							t.Errorf("%d: %s", i, status)
						}
					default:
						if !strings.Contains(text, fmt.Sprintf("number %d.", i)) || good == (i%10 == 3) {
							t.Errorf("%d: %s %s", i, status, text)
						}
					}
				}
			}
			if took := time.Since(begun); took > messages*pause/2 {
				t.Errorf("it took %v", took)
			}
		})
	}
}
