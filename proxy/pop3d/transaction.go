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
	if len(batch) == 1 && batch[0].retrieves() {
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

		sent, rest, err := s.sendRun(batch)
		if err == nil {
			err = s.answerRun(sent)
		}
		if err != nil {
			return err
		}
		batch = rest
	}

	return nil
}

func (c command) retrieves() bool { return c.verb == "RETR" && c.line != "" }

// sendRun sends commands up to one that takes others before it.
func (s *session) sendRun(batch []command) (sent, rest []command, err error) {
	for len(batch) > 0 && !s.holds(batch[0]) {
		c := batch[0]
		batch = batch[1:]
		switch {
		case !c.retrieves() || s.ids.has(c.message) || !s.back.has("UIDL"):
		case s.back.has("PIPELINING"):
			sent = append(sent, s.send(uidlOf(c.message)))
		default:
			if err := s.lookUp(c.message); err != nil {
				return nil, nil, err
			}
		}
		sent = append(sent, s.send(c))
	}

	return sent, batch, nil
}

// answerRun answers commands that were sent.
func (s *session) answerRun(sent []command) error {
	for _, c := range sent {
		if err := s.answer(c); err != nil || s.Ended() {
			return err
		}
	}

	return s.showLate()
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
	least, limit, known := arguments(c.verb)
	switch {
	case c.verb == "LANG":
		c.takeLanguage(args)
	case !known:
		c.reply = replyUnknown
	case len(args) < least || len(args) > limit:
		c.reply = replySyntax
	default:
		c.takeNumbers(args)
	}

	return c
}

// arguments is how many numbers a command takes: RFC 1939 sections 5 to 7, RFC 2449 section 5.
func arguments(verb string) (least, limit int, known bool) {
	switch verb {
	case "STAT", "NOOP", "RSET", "QUIT", "LAST", "CAPA":
		return 0, 0, true
	case "LIST", "UIDL":
		return 0, 1, true
	case "RETR", "DELE":
		return 1, 1, true
	case "TOP":
		return 2, 2, true
	}

	return 0, 0, false
}

// takeNumbers takes a message's number and, for TOP, how many lines.
func (c *command) takeNumbers(args []string) {
	numbers, line := [2]int64{}, c.verb
	for i, arg := range args {
		n, err := strconv.ParseUint(arg, 10, 31)
		if err != nil {
			c.reply = replySyntax
			return
		}
		numbers[i], line = int64(n), line+" "+strconv.FormatUint(n, 10)
	}
	c.line, c.hasMessage = line, len(args) > 0
	c.message, c.lines = numbers[0], numbers[1]
}

// takeLanguage takes the argument of LANG: RFC 6856 section 3.
func (c *command) takeLanguage(args []string) {
	switch {
	case len(args) == 0:
		c.line = "LANG"
	case len(args) == 1 && isLanguage(args[0]):
		c.line, c.hasMessage = "LANG "+args[0], true
	default:
		c.reply = replySyntax
	}
}

// isLanguage says whether a text is a language range (RFC 4647) or "*".
func isLanguage(tag string) bool {
	return len(tag) <= 64 && strings.IndexFunc(tag, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r == '-' || r == '*')
	}) < 0
}

// refuseInTurn refuses a command that the backend never got, behind the answers to those before it.
func (s *session) refuseInTurn(reply string) error {
	if err := s.showLate(); err != nil {
		return err
	}
	s.refuse(reply)
	return nil
}

// answer reads what the backend says to a command, and says it to the client.
func (s *session) answer(c command) error {
	if c.line == "" {
		return s.refuseInTurn(c.reply)
	}

	line, good, err := s.back.status()
	if c.verb == "RETR" && good && err == nil {
		return s.retrieved(c, line)
	}
	if !c.own || err != nil { // the client gets an answer
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

	return s.done(c, line, good)
}

// done takes what follows from an answer.
func (s *session) done(c command, line string, good bool) error {
	switch {
	case c.verb == "QUIT":
		s.Finish("quit")
	case good:
		return s.answered(c, strings.TrimPrefix(line, "+OK"))
	case c.own: // asked once is enough
		s.ids.learn(c.message, "")
	}

	return nil
}

// answered takes in what the good answer to a command says, and passes on the lines that come behind it.
func (s *session) answered(c command, status string) error {
	switch c.verb {
	case "UIDL":
		return s.listed(c, status, s.ids.learnLine)
	case "LIST":
		return s.listed(c, status, s.ids.learnSize)
	case "CAPA":
		return s.pass(maxCapabilities, func(line []byte) bool { return shown(string(bytes.TrimRight(line, "\r\n"))) })
	case "TOP":
		return s.topped(c)
	case "LANG":
		if !c.hasMessage {
			return s.pass(maxListing, nil)
		}
	}

	return nil
}

// listed learns from the answer to UIDL or LIST: the status line is the answer if a message was named.
func (s *session) listed(c command, status string, learn func(string)) error {
	if c.hasMessage {
		learn(status)
		return nil
	}

	return s.pass(maxListing, func(line []byte) bool { learn(string(line)); return true })
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
