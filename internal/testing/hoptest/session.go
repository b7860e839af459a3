package hoptest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"net"
	"slices"
	"strings"
)

// session is one connection to a recording hop.
type session struct {
	hop   *Hop
	nc    net.Conn
	r     *bufio.Reader
	tls   bool
	helo  string
	user  string
	m     Message
	begun bool // MAIL was accepted
	xc    []string
	xf    []string
}

func (s *session) serve() {
	if s.hop.options.Implicit && !s.startTLS() {
		return
	}
	if !s.say(s.hop.answer("GREETING", "220 hop.test ESMTP")) {
		return
	}
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		s.hop.heard(line)
		if !s.command(line) {
			return
		}
	}
}

func (s *session) say(text string) bool { return say(s.nc, text) }

// command answers one line; false ends the connection.
func (s *session) command(line string) bool {
	verb, rest, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	switch verb {
	case "EHLO", "LHLO", "HELO":
		s.helo, s.begun = rest, false
		return s.reply(line, s.greeting(verb))
	case "STARTTLS":
		text := s.hop.answer(line, "220 2.0.0 Go ahead")
		return s.say(text) && (!strings.HasPrefix(text, "220") || s.startTLS())
	case "AUTH":
		return s.auth(line, rest)
	case "XCLIENT":
		s.xc = append(s.xc, line)
		return s.reply(line, "220 hop.test ESMTP")
	case "XFORWARD":
		s.xf = append(s.xf, line)
		return s.reply(line, "250 2.0.0 Ok")
	case "MAIL":
		return s.mail(line, rest)
	case "RCPT":
		return s.rcpt(line, rest)
	case "DATA":
		return s.data()
	case "RSET":
		s.begun = false
		return s.reply(line, "250 2.0.0 Ok")
	case "NOOP":
		return s.reply(line, "250 2.0.0 Ok")
	case "QUIT":
		s.reply(line, "221 2.0.0 Bye")
		return false
	}

	return s.reply(line, "500 5.5.2 What?")
}

func (s *session) reply(line, usual string) bool { return s.say(s.hop.answer(line, usual)) }

func (s *session) mail(line, rest string) bool {
	text := s.hop.answer(line, "250 2.1.0 Ok")
	if strings.HasPrefix(text, "250") {
		s.m = Message{MailLine: line, From: path(rest), Helo: s.helo, TLS: s.tls, User: s.user, XClient: s.xc, XForward: s.xf}
		s.begun, s.xf = true, nil
	}

	return s.say(text)
}

func (s *session) rcpt(line, rest string) bool {
	if !s.begun {
		return s.reply(line, "503 5.5.1 MAIL first")
	}
	text := s.hop.answer(line, "250 2.1.5 Ok")
	if strings.HasPrefix(text, "25") {
		s.m.To, s.m.RcptLines = append(s.m.To, path(rest)), append(s.m.RcptLines, line)
	}

	return s.say(text)
}

func (s *session) greeting(verb string) string {
	lines := []string{"hop.test"}
	if verb != "HELO" {
		lines = append(lines, s.hop.options.Extensions...)
		if s.hop.options.TLS != nil && !s.tls {
			lines = append(lines, "STARTTLS")
		}
		if s.hop.options.Users != nil {
			lines = append(lines, "AUTH PLAIN LOGIN")
		}
	}
	for i := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		lines[i] = "250" + sep + lines[i]
	}
	return strings.Join(lines, "\n")
}

func (s *session) startTLS() bool {
	t := tls.Server(s.nc, s.hop.options.TLS)
	if t.Handshake() != nil {
		return false
	}
	s.nc, s.r, s.tls, s.begun, s.helo = t, bufio.NewReader(t), true, false, ""
	return true
}

func (s *session) auth(line, rest string) bool {
	mech, initial, _ := strings.Cut(rest, " ")
	var user, password string
	switch strings.ToUpper(mech) {
	case "PLAIN":
		fields := strings.Split(unbase64(initial), "\x00")
		if len(fields) == 3 {
			user, password = fields[1], fields[2]
		}
	case "LOGIN":
		for _, into := range []*string{&user, &password} {
			if !s.say("334 VXNlcg==") {
				return false
			}
			text, err := s.r.ReadString('\n')
			if err != nil {
				return false
			}
			*into = unbase64(strings.TrimRight(text, "\r\n"))
		}
	}
	usual := "535 5.7.8 No"
	if want, ok := s.hop.options.Users[user]; ok && want == password {
		usual, s.user = "235 2.7.0 Yes", user
	}
	return s.say(s.hop.answer(line, usual))
}

func unbase64(text string) string {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return ""
	}
	return string(raw)
}

// data reads a message up to CRLF.CRLF and nothing else that may look like it.
func (s *session) data() bool {
	usual := "354 Go ahead"
	if !s.begun || len(s.m.To) == 0 {
		usual = "503 5.5.1 RCPT first"
	}
	text := s.hop.answer("DATA", usual)
	if !s.say(text) || !strings.HasPrefix(text, "354") {
		return !strings.HasPrefix(text, "CLOSE") && !strings.HasSuffix(text, "\nCLOSE") && !strings.HasPrefix(text, "HANG")
	}
	// A hop told to answer in the middle of a message does so at its first octets.
	if early := s.hop.answer("MIDDATA", ""); early != "" {
		if _, err := s.r.ReadByte(); err != nil || !s.say(early) {
			return false
		}
	}
	var raw []byte
	for {
		line, err := s.r.ReadBytes('\n')
		if err != nil {
			return false
		}
		if string(line) == ".\r\n" && (len(raw) == 0 || bytes.HasSuffix(raw, []byte("\r\n"))) {
			break
		}
		raw = append(raw, line...)
	}
	m := s.m
	s.begun = false
	m.Raw = raw
	m.Data, m.Defects = inspect(raw)
	return s.finish(m)
}

func (s *session) finish(m Message) bool {
	reply := s.hop.answer(".", "")
	if s.hop.options.LMTP {
		for _, to := range m.To {
			reply = s.hop.answer("."+to, "250 2.0.0 Delivered to "+to)
			if strings.HasPrefix(reply, "250") {
				one := m
				one.To = []string{to}
				s.hop.take(one)
			}
			if !s.say(reply) {
				return false
			}
		}
		return true
	}
	if reply == "" {
		reply = s.hop.take(m)
	} else if strings.HasPrefix(reply, "250") {
		s.hop.take(m)
	}
	return s.say(reply)
}

// inspect unstuffs the dots and names what must not be there.
func inspect(raw []byte) (data []byte, defects []string) {
	flaw := func(name string) {
		if !slices.Contains(defects, name) {
			defects = append(defects, name)
		}
	}

	data = make([]byte, 0, len(raw))
	for line := range bytes.Lines(raw) {
		if line[0] == '.' {
			if len(line) < 2 || line[1] != '.' {
				flaw("unstuffed dot")
			}
			line = line[1:]
		}
		text, ended := bytes.CutSuffix(line, []byte("\r\n"))
		if !ended && bytes.HasSuffix(line, []byte("\n")) {
			flaw("bare LF")
		}
		if bytes.IndexByte(text, '\r') >= 0 {
			flaw("bare CR")
		}
		if bytes.IndexByte(text, 0) >= 0 {
			flaw("NUL")
		}
		data = append(data, line...)
	}

	return data, defects
}

// path takes the path out of "FROM:<a@b> SIZE=1".
func path(rest string) string {
	_, after, _ := strings.Cut(rest, ":")
	quoted := false
	for i, c := range after {
		switch {
		case c == '"' && (i == 0 || after[i-1] != '\\'):
			quoted = !quoted
		case c == '>' && !quoted:
			return after[:i+1]
		}
	}
	return after
}
