package imapd

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/internal/mail"
	"postern/policy/records/lessons"
	"postern/proxy/imapd/wire"
)

// Learner takes what users say of messages by moving them into and out of Junk, and by flags. It is called by many
// sessions at once.
type Learner interface {
	// Learn takes a lesson, whose hash and Message-ID are for the learner to find. Of the message there are up to
	// lessons.MaxContent octets.
	Learn(ctx context.Context, l lessons.Lesson, m *mail.Message)
	// TakeBack takes back the lesson that the user gave with this message, if there is one.
	TakeBack(ctx context.Context, l lessons.Lesson, m *mail.Message)
	// Pass counts messages that gave no lesson, and says why.
	Pass(ctx context.Context, user, why string, messages int64)
}

// maxTaught is of how many messages of one command lessons are made: what is fetched for it the client waits for.
const maxTaught = 50

// teachTime is how long the learner may take for one command.
const teachTime = time.Minute

// says is what a user says of a message.
type says uint8

const (
	nothing says = iota
	isSpam
	isHam
	notSpam // a lesson of the user's is taken back
	notHam
)

// kept is a message of which a lesson will be made.
type kept struct {
	number, uid uint32
	flags       []string
	message     *mail.Message
	whole       bool // all of it is there
	says        says
	how         string
}

// teaching is what a command teaches once the server has done it.
type teaching struct {
	how, place string
	messages   []*kept
	passed     int64  // messages that give no lesson
	why        string // why not
	byUID      bool

	// an upload goes on while the server may answer it already
	mu     sync.Mutex
	broken bool // it is put together from parts
}

// drop forgets what was fetched.
func (t *teaching) drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range t.messages {
		_ = k.message.Close() // nothing to keep
	}
	t.messages, t.passed = nil, 0
}

// doubted says whether the login is in doubt, so that nothing is learned from this session: it may not be the user's.
func (s *session) doubted() bool {
	doubted := slices.ContainsFunc(s.Mail.Findings, func(f mail.Finding) bool { return f.Symbol == "LOGIN_NEW_NETWORK" })
	if doubted && !s.toldDoubt {
		s.toldDoubt = true
		s.observe("LESSONS_IGNORED", "the login came from a new network")
	}
	return doubted
}

// learnCopy finds out what COPY or MOVE teaches. It gives nil for nothing.
func (s *session) learnCopy(c *wire.Command, text, to string) (*teaching, error) {
	set, good := wire.ParseSet(text)
	from := s.selected().name
	if s.opt.Learner == nil || !good || from == "" {
		return nil, nil
	}
	if err := s.knowFolders(); err != nil {
		return nil, err
	}
	here, there := s.folders.kind(from, s.opt.Junk), s.folders.kind(to, s.opt.Junk)
	said := nothing
	switch {
	case there == junkBox && here != junkBox:
		said = isSpam
	case here == junkBox && there == plainBox:
		said = isHam
	default:
		return nil, nil
	}
	t := &teaching{how: lessons.Copy, place: to, byUID: c.UID}
	if c.Verb == "MOVE" {
		t.how = lessons.Move
	}
	return t, s.gatherMessages(t, set, "", func(*kept) says { return said })
}

// learnFlags finds out what STORE teaches.
//
// IANA's registry of keywords: $Junk and $NotJunk exclude each other, a message that has both counts as if it had neither.
func (s *session) learnFlags(c *wire.Command) (*teaching, error) {
	change, ok := parseStore(c.Args())
	if s.opt.Learner == nil || !ok || s.selected().name == "" {
		return nil, nil
	}
	t := &teaching{how: lessons.Flag, place: s.selected().name, byUID: c.UID}
	return t, s.gatherMessages(t, change.set, "FLAGS ", func(k *kept) says { return change.says(k.flags) })
}

// numbersOf lists the messages of a set. The server is asked where only it knows them, or where they are too many.
func (s *session) numbersOf(t *teaching, set wire.Set) (numbers []uint32, err error) {
	if !set.Saved && !set.Open(^uint32(0)) {
		numbers = set.Numbers(maxTaught + 1)
	}
	if n := len(numbers); n > 0 && n <= maxTaught {
		return numbers, nil
	}
	all := &own{limit: maxTaught}
	if err := s.ask(fetchCommand(t.byUID, set.String(), "(UID)"), all); err != nil {
		return nil, err
	}
	numbers = numbers[:0]
	for _, f := range all.found {
		numbers = append(numbers, map[bool]uint32{false: f.number, true: f.uid}[t.byUID])
	}
	t.passed, t.why = all.count-int64(len(numbers)), lessons.Bulk

	return numbers, nil
}

// gatherMessages fetches what a command is about to move or to flag, and keeps that of which it says something.
func (s *session) gatherMessages(t *teaching, set wire.Set, items string, say func(*kept) says) error {
	if err := s.drain(); err != nil {
		return err
	}
	s.teachings.Wait()
	stop := s.progress()
	defer stop()
	numbers, err := s.numbersOf(t, set)
	if err != nil {
		return err
	}
	if s.doubted() {
		t.passed, t.why = t.passed+int64(len(numbers)), lessons.Login
		return nil
	}
	if len(numbers) == 0 {
		return nil
	}
	o := &own{keep: true}
	err = s.ask(fetchCommand(t.byUID, ranges(numbers), fmt.Sprintf("(UID %sBODY.PEEK[]<0.%d>)", items, lessons.MaxContent)), o)
	for _, k := range o.kept {
		if k.says, k.how = say(k), t.how; k.says == nothing || k.says == isHam && !s.mayBeHam(t, k) {
			_ = k.message.Close() // nothing to keep
			continue
		}
		t.messages = append(t.messages, k)
	}
	return err
}

// mayBeHam says whether a lesson that a message is none of spam is taken. A message that is masked makes a wish of it,
// and one that nobody looked at gives none: it may be what masks are for.
func (s *session) mayBeHam(t *teaching, k *kept) bool {
	r, known := s.ruling(k.uid)
	if !known && k.whole {
		r, known = s.opt.VerdictCache.Judge(s.Ctx, s.Mail, s.place(k.uid), k.message), true
	}
	if !known {
		t.passed, t.why = t.passed+1, lessons.Bulk
		return false
	}
	if r.Masked {
		k.how = lessons.Wish
	}
	return true
}

func ranges(numbers []uint32) string {
	var set wire.Set
	for _, n := range numbers {
		if i := len(set.Ranges) - 1; i >= 0 && set.Ranges[i].To+1 == n {
			set.Ranges[i].To = n
			continue
		}
		set.Ranges = append(set.Ranges, wire.Range{From: n, To: n})
	}
	return set.String()
}

// teach gives the lessons of a command that the server completed. It does not keep the client waiting.
func (s *session) teach(t *teaching, status, code, args string) {
	if t == nil {
		return
	}
	t.mu.Lock()
	broken := t.broken
	t.broken = true // what may come behind the answer does not count
	t.mu.Unlock()
	if status != "OK" || broken {
		t.drop()
		return
	}
	if code == "MODIFIED" { // RFC 7162 section 3.1.3: these were not changed
		set, _ := wire.ParseSet(args)
		for _, k := range t.messages {
			if number := map[bool]uint32{false: k.number, true: k.uid}[t.byUID]; slices.Contains(set.Numbers(10_000), number) {
				k.says = nothing
			}
		}
	}
	s.teachings.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				s.opt.Log.Error("learning panicked", "id", s.Mail.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			}
		}()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.Ctx), teachTime)
		defer cancel()
		if t.passed > 0 {
			s.opt.Learner.Pass(ctx, s.Mail.User, t.why, t.passed)
		}
		for _, k := range t.messages {
			s.tellLearner(ctx, t, k)
		}
		t.drop()
	})
}

func (s *session) tellLearner(ctx context.Context, t *teaching, k *kept) {
	l := lessons.Lesson{Time: s.opt.Now(), User: s.Mail.User, Door: s.opt.Name, Spam: k.says == isSpam || k.says == notSpam, How: k.how, Place: t.place}
	switch k.says {
	case isSpam, isHam:
		s.opt.Learner.Learn(ctx, l, k.message)
	case notSpam, notHam:
		s.opt.Learner.TakeBack(ctx, l, k.message)
	}
}

// learnUpload finds out what an upload teaches: one to Junk is spam, as mbsync moves; one to another mailbox takes that
// back. It gives nil for nothing.
func (s *session) learnUpload(to string) (*teaching, error) {
	if s.opt.Learner == nil {
		return nil, nil
	}
	if err := s.knowFolders(); err != nil || s.folders.kind(to, s.opt.Junk) == trashBox {
		return nil, err
	}
	return &teaching{how: lessons.Append, place: to}, nil
}

// uploaded takes a message of an upload into what it teaches.
func (s *session) uploaded(t *teaching, sp *mail.Spool, whole bool) {
	said := notSpam
	if s.folders.kind(t.place, s.opt.Junk) == junkBox {
		said = isSpam
	}
	doubted := s.doubted()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.broken {
		sp.Discard()
		return
	}
	if doubted || len(t.messages) == maxTaught {
		sp.Discard()
		if said == isSpam {
			t.passed, t.why = t.passed+1, map[bool]string{true: lessons.Login, false: lessons.Bulk}[doubted]
		}
		return
	}
	if m, err := sp.Finish(); err == nil { // else the disk is full: the upload itself is none of our business
		t.messages = append(t.messages, &kept{message: m, whole: whole, says: said, how: t.how})
	}
}

// parted notes that an upload is put together from parts, if it is.
func (t *teaching) parted(l *wire.Lexer) {
	if t == nil || !assembles(l) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.broken = true
}

// assembles says whether what was read of an upload puts a message together from parts: RFC 4469. What comes as a literal
// is no message then.
func assembles(l *wire.Lexer) bool {
	for {
		switch t := l.Next(); {
		case t.Kind == wire.End || t.Kind == wire.Bad:
			return false
		case t.Kind == wire.Atom && strings.EqualFold(t.Text, "CATENATE"):
			return true
		}
	}
}
