package clamav

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// servers are the clamds in the order of the settings, with their idle connections. One that failed is asked last for a
// while.
type servers struct {
	addresses []string
	// places bounds the scans under way: clamd has MaxThreads of them, and lets others wait without a word.
	places chan struct{}
	now    func() time.Time

	mu     sync.Mutex
	idle   map[string][]*session
	failed map[string]time.Time
}

// rest is how long a server that failed is asked last.
const rest = 10 * time.Second

// maxIdle is how many connections of one server are kept.
const maxIdle = 8

func newServers(addresses []string, places int, now func() time.Time) *servers {
	return &servers{addresses: addresses, places: make(chan struct{}, places), now: now, idle: map[string][]*session{}, failed: map[string]time.Time{}}
}

// scan asks the servers in turn until one has an answer. open gives the content anew for each try.
func (s *servers) scan(ctx context.Context, open func() (io.ReadCloser, error)) (virus string, err error) {
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	case <-ctx.Done():
		return "", fmt.Errorf("all connections to clamd are busy: %w", ctx.Err())
	}
	var failures []error
	for _, address := range s.order() {
		virus, err := s.ask(ctx, address, open)
		if err == nil || errors.Is(err, errSize) || ctx.Err() != nil {
			return virus, err
		}
		failures = append(failures, fmt.Errorf("%s: %w", address, err))
		s.mark(address, true)
	}
	return "", errors.Join(failures...)
}

// order is the list, those that failed a moment ago last.
func (s *servers) order() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var well, ill []string
	for _, a := range s.addresses {
		if at, ok := s.failed[a]; ok && s.now().Sub(at) < rest {
			ill = append(ill, a)
		} else {
			well = append(well, a)
		}
	}
	return append(well, ill...)
}

func (s *servers) mark(address string, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if failed {
		s.failed[address] = s.now()
	} else {
		delete(s.failed, address)
	}
}

// ask scans over an idle connection, over a new one if that was closed meanwhile.
func (s *servers) ask(ctx context.Context, address string, open func() (io.ReadCloser, error)) (string, error) {
	for {
		c, err := s.take(ctx, address)
		if err != nil {
			return "", err
		}
		content, err := open()
		if err != nil {
			c.close()
			return "", err
		}
		used := !c.fresh
		virus, err := c.scan(ctx, content)
		_ = content.Close() // it was only read
		if err == nil {
			s.mark(address, false)
			s.give(address, c)
			return virus, nil
		}
		c.close()
		if !used || errors.Is(err, errSize) || ctx.Err() != nil {
			return "", err
		}
	}
}

func (s *servers) take(ctx context.Context, address string) (*session, error) {
	s.mu.Lock()
	list := s.idle[address]
	if n := len(list); n > 0 {
		c := list[n-1]
		s.idle[address] = list[:n-1]
		s.mu.Unlock()
		return c, nil
	}
	s.mu.Unlock()
	return dial(ctx, address)
}

func (s *servers) give(address string, c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.idle[address]) >= maxIdle {
		c.close()
		return
	}
	s.idle[address] = append(s.idle[address], c)
}

// ping asks the servers in turn whether they live, over connections of their own.
func (s *servers) ping(ctx context.Context) error {
	var failures []error
	for _, address := range s.order() {
		err := pingOne(ctx, address)
		if err == nil {
			return nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", address, err))
	}
	return errors.Join(failures...)
}
