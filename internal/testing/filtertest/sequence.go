package filtertest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"postern/filters"
	"postern/internal/mail"
)

// A case of several transactions tells a story: what is remembered, what is forgotten, what happens when. Each begins with
// "==== after 5m" or "==== next". What stands for the whole case is inherited (settings, dns, asn); so are peer, helo,
// mail, user, recipients and the message unless they are given anew. Wants and what others found are not.
//
//	times 20            so many transactions, the wants are those of the last one
//	every 30s           time between them
//	rcpt user%n@corp.example, peer 192.0.2.%n, mail, helo, the message: %n counts the transactions from 1
//	inbound             no user and no trusted network any more
//	answer 550 5.1.1    the reply to each recipient; it is 250
//	judged reject 12.5  what policy decided about the message, and the score
//	taught spam bob     bob says that it was spam, or "good"; with " admin" behind the name an admin does
//	ended 1 0 0         the connection is over: so many recipients refused, messages delivered, messages junk
//	asn 64500 192.0.2.1 the autonomous system of an address
//	correct VERB TEXT   the admin corrects the row of the table that holds TEXT, before the transaction
//	kept TEXT           a row of the table holds TEXT after it; "kept nothing" wants an empty table

// step is one transaction of a case, or several that are alike.
type step struct {
	title       string
	session     mail.Session
	peer        string
	from        string
	rcpts       []string
	inherited   bool // rcpts are those of the step before
	prior       []filters.Finding
	wants       []want
	last        mail.Stage
	times       int
	after       time.Duration
	every       time.Duration
	message     []byte
	answer      mail.Reply
	judged      *filters.Decision
	lesson      *filters.Lesson
	conduct     *filters.Conduct
	verb, which string
	kept        []string
}

const separator = "\n==== "

// splitSteps cuts a case; the first line of each further piece is "after 5m" or "next".
func splitSteps(text string) []string { return strings.Split(text, separator) }

// next begins another transaction.
func (c *testCase) next() {
	s := *c.step
	s.inherited = true
	s.title = fmt.Sprintf("transaction %d: ", len(c.steps)+1)
	s.prior, s.wants, s.kept = nil, nil, nil
	s.last, s.times, s.after, s.every = mail.StageMessage, 1, 0, 0
	s.answer, s.judged, s.lesson, s.conduct, s.verb, s.which = mail.Reply{}, nil, nil, nil, "", ""
	c.step = &s
	c.steps = append(c.steps, c.step)
}

func (s *step) rcpt(path string) {
	if s.inherited {
		s.rcpts, s.inherited = nil, false
	}
	s.rcpts = append(s.rcpts, path)
}

// lineOfSequence reads the words that this file explains.
func (c *testCase) lineOfSequence(word, rest string) (err error) {
	s := c.step
	switch word {
	case "next":
	case "wrote":
		err = c.lineOfCorrespondents(rest)
	case "after":
		s.after, err = time.ParseDuration(rest)
	case "every":
		s.every, err = time.ParseDuration(rest)
	case "inbound":
		s.session.User, s.session.Trusted = "", false
	case "found":
		symbol, evidence, _ := strings.Cut(rest, " ")
		f := filters.Finding{Symbol: symbol, Evidence: evidence}
		if symbol == filters.Failed {
			f.Value, _, _ = strings.Cut(evidence, ":")
		}
		s.prior = append(s.prior, f)
	case "answer":
		err = s.lineOfAnswer(rest)
	case "judged":
		s.judged = &filters.Decision{}
		var word string
		_, scanned := fmt.Sscanf(rest, "%s %g", &word, &s.judged.Score)
		err = errors.Join(scanned, s.judged.Disposition.UnmarshalText([]byte(word)))
	case "taught":
		word, by, _ := strings.Cut(rest, " ")
		by, trusted := strings.CutSuffix(by, " admin")
		s.lesson = &filters.Lesson{Spam: word == "spam", By: by, Trusted: trusted}
	case "ended":
		d := &filters.Conduct{Transactions: 1, Recipients: 1, End: "quit"}
		_, err = fmt.Sscanf(rest, "%d %d %d", &d.Refused, &d.Delivered, &d.Junk)
		s.conduct = d
	case "asn":
		number, address, _ := strings.Cut(rest, " ")
		n, _ := strconv.ParseUint(number, 10, 32)
		var a netip.Addr
		a, err = netip.ParseAddr(address)
		c.systems[a] = uint32(n)
	case "correct":
		s.verb, s.which, _ = strings.Cut(rest, " ")
	case "kept":
		s.kept = append(s.kept, rest)
	default:
		err = fmt.Errorf("unknown word %q", word)
	}
	return err
}

// lineOfAnswer reads a reply. RFC 2034: not every server gives an enhanced code.
func (s *step) lineOfAnswer(rest string) error {
	_, err := fmt.Sscanf(rest+" ", "%d %s", &s.answer.Code, &s.answer.Enhanced)
	if s.answer.Code != 0 {
		return nil
	}

	return err
}

// lineOfCorrespondents reads who of ours has written to whom.
func (c *testCase) lineOfCorrespondents(rest string) (err error) {
	ours, theirs, _ := strings.Cut(rest, " ")
	var pair [2]mail.Address
	for i, text := range []string{ours, theirs} {
		var bad error
		pair[i], bad = mail.ParseAddress(text)
		err = errors.Join(err, bad)
	}
	c.wrote = append(c.wrote, pair)

	return err
}

// numbered puts the number of the transaction where %n stands.
func numbered(text string, n int) string { return strings.ReplaceAll(text, "%n", strconv.Itoa(n)) }

func (c *testCase) asn(a netip.Addr) (uint32, string) {
	n := c.systems[a]
	if n == 0 {
		return 0, ""
	}
	return n, "Example Networks"
}

// visit is the session of the n-th transaction.
func (s *step) visit(n int) (*mail.Session, error) {
	session := s.session
	session.ID = fmt.Sprintf("TEST%d", n)
	session.Helo = numbered(session.Helo, n)
	if s.peer == "" {
		return &session, nil
	}
	var err error
	session.Client, err = netip.ParseAddr(numbered(s.peer, n))
	return &session, err
}

func (s *step) reply() mail.Reply {
	if s.answer.Code == 0 {
		return mail.NewReply(250, "2.1.5", "Recipient ok")
	}
	return s.answer
}

// learn tells the filter what became of the transaction.
func (s *step) learn(ctx context.Context, chain *filters.Chain, tx *mail.Transaction, n int) {
	if s.judged != nil {
		var judged []filters.Decision
		for _, r := range tx.Recipients {
			judged = append(judged, filters.Decision{Recipient: r.Address, Disposition: s.judged.Disposition, Score: s.judged.Score})
		}
		chain.Decided(ctx, tx, judged)
	}
	if s.lesson != nil {
		lesson := *s.lesson
		lesson.By = numbered(lesson.By, n)
		chain.Taught(ctx, tx.Message, lesson)
	}
	if s.conduct != nil {
		chain.Ended(ctx, tx.Session, *s.conduct)
	}
}

// correct does what the admin does before the transaction.
func (s *step) correct(ctx context.Context, chain *filters.Chain, name string) error {
	if s.verb == "" {
		return nil
	}
	rows, err := rows(ctx, chain, name)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if strings.Contains(row.Text, s.which) {
			return chain.AdminTables()[name].Apply(ctx, s.verb, row.Key)
		}
	}
	return fmt.Errorf("%sno row of the shelf holds %q: %v", s.title, s.which, rows)
}

func (s *step) looksKept(ctx context.Context, chain *filters.Chain, name string) error {
	for _, text := range s.kept {
		rows, err := rows(ctx, chain, name)
		if err != nil {
			return err
		}
		found := text == "nothing" && len(rows) == 0
		for _, row := range rows {
			found = found || strings.Contains(row.Text, text)
		}
		if !found {
			return fmt.Errorf("%sno row of the shelf holds %q: %v", s.title, text, rows)
		}
	}
	return nil
}

func rows(ctx context.Context, chain *filters.Chain, name string) ([]filters.Row, error) {
	table := chain.AdminTables()[name]
	if table == nil {
		return nil, fmt.Errorf("%s has no shelf", name)
	}
	return table.Rows(ctx, 100)
}

// clock is the time of a case. The memory reads it in the background too.
type clock struct {
	mu   sync.Mutex
	now  time.Time
	done func() error
}

func newClock() *clock { return &clock{now: Now(), done: func() error { return nil }} }

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *clock) close() { _ = c.done() }
