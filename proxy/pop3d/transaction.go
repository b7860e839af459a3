package pop3d

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"postern/proxy/mask"
)

const (
	// pipelined is how many commands are sent to the backend before its first answer is read (RFC 2449 section 6.6). With their
	// lengths they fit into what the network holds, so that neither side ever waits for the other to read.
	pipelined = 16
	// maxListing is the longest listing of a backend, maxContent the longest message that passes, in octets.
	maxListing = 64 << 20
	maxContent = 1 << 40
)

// command is one of the client's in the TRANSACTION state, or a UIDL of our own before it.
type command struct {
	verb string
	// message and lines are the arguments of those that take numbers; hasMessage says whether one was given.
	message, lines int64
	hasMessage     bool
	// line is what the backend is sent, "" for nothing; reply is our own answer then.
	line, reply string
	own         bool
}

// transaction reads what the client has sent, up to as many commands as are taken ahead, and answers them in order: RFC
// 1939 section 5.
func (s *session) transaction() {
	line, ok := s.line(maxLine)
	if !ok {
		return
	}
	batch := []command{s.parse(line)}
	for s.back.has("PIPELINING") && s.In.HasLine() && len(batch) < pipelined && batch[len(batch)-1].verb != "QUIT" {
		if line, ok = s.line(maxLine); !ok {
			return
		}
		batch = append(batch, s.parse(line))
	}
	if err := s.serve(batch); err != nil {
		s.backendFailed(err)
	}
}

// serve sends commands on and answers them, the content of messages apart: that may take another command first.
func (s *session) serve(batch []command) error {
	if len(batch) == 1 && batch[0].verb == "RETR" && batch[0].line != "" {
		if err := s.foresee(batch[0]); err != nil {
			return err
		}
	}
	for len(batch) > 0 && !s.Ended() {
		if s.holds(batch[0]) {
			if err := s.top(batch[0]); err != nil {
				return err
			}
			batch = batch[1:]
			continue
		}
		var sent []command
		for len(batch) > 0 && !s.holds(batch[0]) {
			c := batch[0]
			batch = batch[1:]
			if c.verb == "RETR" && c.line != "" && !s.ids.has(c.message) && s.back.has("UIDL") {
				if !s.back.has("PIPELINING") {
					if err := s.lookUp(c.message); err != nil {
						return err
					}
				} else {
					sent = append(sent, s.send(uidlOf(c.message)))
				}
			}
			sent = append(sent, s.send(c))
		}
		for _, c := range sent {
			if err := s.answer(c); err != nil || s.Ended() {
				return err
			}
		}
		if err := s.showLate(); err != nil || s.Ended() {
			return err
		}
	}
	return nil
}

// holds says whether a command takes others before it: TOP with lines of the body, and any TOP of a message that is known
// to be masked, as some servers take for header what we do not.
func (s *session) holds(c command) bool {
	if c.verb != "TOP" || c.line == "" || c.lines > 0 {
		return c.verb == "TOP" && c.line != ""
	}
	r, known := s.known(s.place(c.message))
	return known && r.Masked
}

func (s *session) send(c command) command {
	if c.line != "" {
		s.back.out.Say(c.line + "\r\n")
	}
	return c
}

func uidlOf(message int64) command {
	return command{verb: "UIDL", message: message, hasMessage: true, line: fmt.Sprintf("UIDL %d", message), own: true}
}

// lookUp asks for the unique-id of a message, if it is not known.
func (s *session) lookUp(message int64) error {
	if s.ids.has(message) || !s.back.has("UIDL") {
		return nil
	}
	return s.answer(s.send(uidlOf(message)))
}

// parse reads a command. The backend is sent only what was understood, written anew: an unknown command may have an answer
// of any form, or hand out messages.
func (s *session) parse(line string) command {
	word, rest, _ := strings.Cut(line, " ")
	c := command{verb: strings.ToUpper(word)}
	args := strings.Fields(rest)
	numbers, good := make([]int64, 0, 2), true
	if c.verb != "LANG" {
		for _, arg := range args {
			n, err := strconv.ParseUint(arg, 10, 31)
			good = good && err == nil && len(numbers) < 2
			numbers = append(numbers, int64(n))
		}
	}
	least, most := 0, 0
	switch c.verb {
	case "STAT", "NOOP", "RSET", "QUIT", "LAST", "CAPA":
	case "LIST", "UIDL":
		most = 1
	case "RETR", "DELE":
		least, most = 1, 1
	case "TOP":
		least, most = 2, 2
	case "LANG": // RFC 6856 section 3
		good = len(args) <= 1 && (len(args) == 0 || isLanguage(args[0]))
	default:
		c.reply = replyUnknown
		return c
	}
	if !good || len(numbers) < least || len(numbers) > most {
		c.reply = replySyntax
		return c
	}
	c.line = c.verb
	for _, n := range numbers {
		c.line += " " + strconv.FormatInt(n, 10)
	}
	if c.verb == "LANG" && len(args) == 1 {
		c.line, c.hasMessage = "LANG "+args[0], true
	}
	if len(numbers) > 0 {
		c.message, c.hasMessage = numbers[0], true
	}
	if len(numbers) > 1 {
		c.lines = numbers[1]
	}
	return c
}

// isLanguage says whether a text is a language range (RFC 4647) or "*".
func isLanguage(tag string) bool {
	return len(tag) <= 64 && strings.IndexFunc(tag, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r == '-' || r == '*')
	}) < 0
}

// answer reads what the backend says to a command, and says it to the client.
func (s *session) answer(c command) error {
	if c.line == "" {
		if err := s.showLate(); err != nil {
			return err
		}
		s.refuse(c.reply)
		return nil
	}
	line, good, err := s.back.status()
	if c.verb == "RETR" && good && err == nil {
		return s.retrieved(c, line)
	}
	if !c.own || err != nil { // the client hears something
		if failed := s.showLate(); failed != nil {
			return failed
		}
	}
	if err != nil {
		s.out.Say(replyLoggedOut)
		return err
	}
	if !c.own {
		s.out.Say(line + "\r\n")
	}
	switch {
	case c.verb == "QUIT":
		s.Finish("quit")
	case !good && c.own: // asked once is enough
		s.ids.learn(c.message, "")
	case !good:
	case c.verb == "UIDL" && c.hasMessage:
		s.ids.learnLine(strings.TrimPrefix(line, "+OK"))
	case c.verb == "UIDL":
		return s.pass(maxListing, func(line []byte) bool { s.ids.learnLine(string(line)); return true })
	case c.verb == "CAPA":
		return s.pass(maxCapabilities, func(line []byte) bool { return shown(string(bytes.TrimRight(line, "\r\n"))) })
	case c.verb == "TOP":
		return s.topped(c)
	case c.verb == "LIST" && c.hasMessage:
		s.ids.learnSize(strings.TrimPrefix(line, "+OK"))
	case c.verb == "LIST":
		return s.pass(maxListing, func(line []byte) bool { s.ids.learnSize(string(line)); return true })
	case c.verb == "LANG" && !c.hasMessage:
		return s.pass(maxListing, nil)
	}
	return nil
}

// topped passes the answer to TOP on. Of a message that nobody has judged only that passes what every reader takes for its
// header: RFC 1939 section 7 leaves to the server where that ends.
func (s *session) topped(c command) error {
	d := s.delivery("") // it was said
	defer d.spool.Discard()
	_, r, known, err := d.front(s.place(c.message))
	if err != nil {
		return err
	}
	if known && !r.Masked {
		return d.through(nil)
	}
	var watch mask.Watch
	return d.through(func(p []byte) { mask.Opaque(p[watch.End(p):], 0, "") })
}

// pass passes the lines of a response on, up to so many octets: all, or those that show says yes to. show may overwrite
// them.
func (s *session) pass(limit int64, show func(line []byte) bool) error {
	lines := response{in: s.back.in, limit: limit}
	for s.out.Err() == nil {
		p, _, more, err := lines.piece()
		if err != nil {
			return err
		}
		if !more || show == nil || show(p) {
			s.out.Put(p)
		}
		if !more {
			return nil
		}
	}
	return s.out.Err()
}

// shown says whether a capability of the backend's is the client's, too: those that we understand, and that are not about
// the login.
func shown(line string) bool {
	word, _, _ := strings.Cut(strings.ToUpper(line), " ")
	switch word {
	case "TOP", "UIDL", "USER", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE", "EXPIRE", "LOGIN-DELAY", "UTF8", "LANG":
		return true
	}
	return false
}

// backendFailed ends a session whose backend can't go on. What it said already may be half a response, so there is
// nothing to say to the client but within one.
func (s *session) backendFailed(err error) {
	s.misbehaved(err)
	s.opt.Log.Warn("backend failed", "id", s.Mail.ID, "backend", s.back.name, "error", err)
	if s.out.Err() != nil {
		s.Finish("connection lost")
		return
	}
	how := "backend failed"
	if errors.Is(err, io.EOF) {
		how = "backend closed the connection"
	}
	s.Finish(how)
}

// uidls are the unique-ids of the messages of a session: RFC 1939 section 7.
type uidls struct {
	byNumber map[int64]string
	numbers  map[string]int64
	sizes    map[int64]int64 // as LIST told them
}

const (
	maxIDs = 100_000 // unique-ids that are kept
	maxID  = 70      // octets of one
)

// has says whether the unique-id of a message was asked for.
func (u *uidls) has(message int64) bool {
	_, ok := u.byNumber[message]
	return ok || len(u.byNumber) >= maxIDs
}

// learnLine reads "NUMBER ID".
func (u *uidls) learnLine(line string) {
	number, id, ok := strings.Cut(strings.TrimSpace(line), " ")
	n, err := strconv.ParseUint(number, 10, 31)
	if ok && err == nil {
		u.learn(int64(n), id)
	}
}

// learnSize reads "NUMBER SIZE".
func (u *uidls) learnSize(line string) {
	words := strings.Fields(line)
	if len(words) < 2 || len(u.sizes) >= maxIDs {
		return
	}
	n, err := strconv.ParseUint(words[0], 10, 31)
	size, err2 := strconv.ParseUint(words[1], 10, 62)
	if err != nil || err2 != nil {
		return
	}
	if u.sizes == nil {
		u.sizes = map[int64]int64{}
	}
	u.sizes[int64(n)] = int64(size)
}

// learn keeps a unique-id; "" is none. One that two messages share, as servers make them that go by the header, says
// nothing of either: an attacker could have made the second.
func (u *uidls) learn(message int64, id string) {
	if len(u.byNumber) >= maxIDs {
		return
	}
	if u.byNumber == nil {
		u.byNumber, u.numbers = map[int64]string{}, map[string]int64{}
	}
	if len(id) > maxID || strings.ContainsAny(id, " \t") {
		id = ""
	}
	if other, ok := u.numbers[id]; ok && other != message && id != "" {
		u.byNumber[other], id = "", ""
	} else if id != "" {
		u.numbers[id] = message
	}
	u.byNumber[message] = id
}
