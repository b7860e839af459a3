package pop3d

// retrieved passes on a message that the backend begins to send. What is known to be clean goes straight through; all
// else is held until it is judged, and overwritten if need be. While it is judged the next one is taken in, if the client
// asked for it already: see showLate.
func (s *session) retrieved(c command, status string) error {
	d := s.delivery(status + "\r\n")
	d.message = c.message
	if done, err := d.takeAll(s.place(c.message), -1); done || err != nil {
		return err
	}
	d.waited = len(s.late) > 0
	s.late = append(s.late, d)
	if d.job = s.early.Take(d.content.Size()); d.job == nil {
		return s.showLate() // no room for more
	}
	return s.showReady()
}

// showReady sends the messages that are judged, up to the first that is not.
func (s *session) showReady() error {
	for len(s.late) > 0 && (s.late[0].answer == nil || len(s.late[0].answer) > 0) {
		if err := s.showFirst(); err != nil {
			return err
		}
	}
	return nil
}

// showLate sends the messages that wait for their judgement, in the order in which they were asked for.
func (s *session) showLate() error {
	for len(s.late) > 0 {
		if err := s.showFirst(); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) showFirst() error {
	d := s.late[0]
	s.late = s.late[1:]
	if d.job != nil {
		defer d.job.Leave()
	}
	if d.waited {
		d.next = s.opt.Now().Add(s.opt.Patience)
	}
	return d.show(-1)
}

// forgetLate gives back what messages hold that the client will not get.
func (s *session) forgetLate() {
	for _, d := range s.late {
		if d.answer != nil {
			<-d.answer
		}
		if d.job != nil {
			d.job.Leave()
		}
		_ = d.content.Close() // nothing to keep
	}
	s.late = nil
}
