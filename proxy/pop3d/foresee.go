package pop3d

import (
	"fmt"

	"postern/internal/mail"
	"postern/proxy/retrieval"
	"postern/proxy/retrieval/ahead"
)

// reading is how a client goes through its mailbox that fetches one message after the other.
type reading struct {
	last int64
	run  int   // how many messages in a row it fetched
	upTo int64 // the last one that was looked into before its turn: what was found stands in no place where isKnown looks
}

// steady is how many messages in a row make a reading that is foreseen.
const steady = 3

// wholeTop asks for more lines than any message has.
const wholeTop = 1_000_000_000

// follow counts the messages that were asked for one after the other.
func (r *reading) follow(message int64) {
	if message == r.last+1 {
		r.run++
	} else {
		*r = reading{}
	}
	r.last = message
}

// mayForesee says whether the client reads on steadily, and whether fetching ahead is possible and of use.
func (s *session) mayForesee(message int64) bool {
	if s.reading.run < steady || message <= s.reading.upTo {
		return false
	}
	return s.back.has("TOP") && s.back.has("PIPELINING") && !s.isKnown(message)
}

// foresee has messages judged that a client will ask for next: it fetches one after the other, and each would wait for its
// judgement. They are fetched by TOP, and the verdict cache remembers what is found by their octets, not by their place: a server's
// TOP may give less than its RETR.
//
// RFC 1939 section 7: TOP with more lines than there are gives the whole message; only RETR counts as having been read.
func (s *session) foresee(c command) error {
	s.reading.follow(c.message)
	if !s.mayForesee(c.message) {
		return nil
	}
	var wanted []int64
	for n := c.message; n < c.message+ahead.Window && s.ids.byNumber[n] != "" && s.sized(n); n++ {
		s.reading.upTo = n
		if !s.isKnown(n) {
			wanted = append(wanted, n)
			s.back.out.Say(fmt.Sprintf("TOP %d %d\r\n", n, int64(wholeTop)))
		}
	}
	for _, n := range wanted {
		_, good, err := s.back.status()
		if err != nil {
			s.out.Say(replyLoggedOut)
			return err
		}
		if good {
			if err := s.lookInto(n); err != nil {
				return err
			}
		}
	}
	return nil
}

// isKnown says whether a message is known or about to be.
func (s *session) isKnown(message int64) bool {
	_, known := s.known(s.place(message))
	return known || s.early.Find(message) != nil
}

// maxForeseen is the largest message that is fetched before the client asks for it, in octets.
const maxForeseen = 1 << 20

// sized says whether a message is small enough to be fetched twice; one of unknown size may be.
func (s *session) sized(message int64) bool { return s.ids.sizes[message] <= maxForeseen }

// lookInto takes a message in that the backend sends, and has it judged in the background.
func (s *session) lookInto(message int64) error {
	d := s.delivery("")
	d.next = s.opt.Now().Add(1000 * s.opt.Patience) // nothing is sent to the client meanwhile
	job := s.early.Take(max(s.ids.sizes[message], 1))
	if job == nil {
		return d.skip()
	}
	for !d.ended {
		p, more, err := d.lines.text()
		if err != nil {
			job.Leave()
			d.spool.Discard()
			return err
		}
		if d.ended = !more; more && d.fault == nil {
			if d.spool.Size()+int64(len(p)) > maxForeseen {
				d.fault = errTooLarge
				continue
			}
			_, d.fault = d.spool.Write(p)
		}
	}
	if d.fault != nil {
		job.Leave()
		d.spool.Discard()
		return nil // it is judged in its turn, and what is wrong with it is told then
	}
	m, err := d.finish()
	if err != nil {
		job.Leave()
		return nil //nolint:nilerr // it is in the log, and the message is judged in its turn
	}
	s.startJob(job, message, m)
	return nil
}

// startJob has a message judged by its octets.
func (s *session) startJob(job *ahead.Job, message int64, m *mail.Message) {
	place := s.place(message)
	place.UIDL = ""
	job.Start(message, func() {
		defer job.Leave()
		defer func() { _ = m.Close() }() // nothing to keep
		s.safely(place, m)
	})
}

// safely asks the verdicts. A panic is no verdict.
func (s *session) safely(p retrieval.Place, m *mail.Message) (r retrieval.Ruling) {
	r = retrieval.Ruling{Masked: true, Later: true, ID: s.Mail.ID, Why: "it could not be judged"}
	defer func() {
		if x := recover(); x != nil {
			s.opt.Log.Error("panic while a message was judged", "id", s.Mail.ID, "panic", x)
		}
	}()
	return s.opt.VerdictCache.Judge(s.Ctx, s.Mail, p, m)
}
