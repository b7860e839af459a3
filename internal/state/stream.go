package state

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Stream is a list in Redis that all gateways append to and read in the same order: what must not be lost, unlike State.
// Its calls give an error while Redis is away.
type Stream struct {
	client redis.UniversalClient
	key    string
}

// StreamEntry is one entry; its ID is larger than those of all before it.
type StreamEntry struct {
	ID     string
	Fields map[string]string
}

// streamTimeout is that of one question.
const streamTimeout = 5 * time.Second

// OpenStream opens the stream of a name. Redis is not yet asked anything.
func OpenStream(o RedisOptions, name string) (*Stream, error) {
	if len(o.Addresses) == 0 {
		return nil, errors.New("stream: redis: no address")
	}
	if o.Prefix == "" {
		o.Prefix = "postern:"
	}
	o.Timeout = streamTimeout
	c := o.client()
	c.PoolSize = 2

	// both keys are on one node of a cluster: what stands in braces decides
	return &Stream{redis.NewUniversalClient(c), "{" + o.Prefix + name + "}"}, nil
}

// Close ends the connections.
func (s *Stream) Close() error { return s.client.Close() }

// Claim gives the stream a name, unless it has one, and gives the one it has.
func (s *Stream) Claim(ctx context.Context, name string) (string, error) {
	key := s.key + ":name"
	if err := s.client.SetNX(ctx, key, name, 0).Err(); err != nil {
		return "", fmt.Errorf("stream: %w", err)
	}
	has, err := s.client.Get(ctx, key).Result()
	if err != nil {
		return "", fmt.Errorf("stream: %w", err)
	}

	return has, nil
}

// Add appends an entry.
func (s *Stream) Add(ctx context.Context, fields map[string]string) error {
	values := make([]string, 0, 2*len(fields))
	for name, value := range fields {
		values = append(values, name, value)
	}
	if err := s.client.XAdd(ctx, &redis.XAddArgs{Stream: s.key, Values: values}).Err(); err != nil {
		return fmt.Errorf("stream: %w", err)
	}

	return nil
}

// After gives up to n entries behind one, in order; behind "" is from the beginning.
func (s *Stream) After(ctx context.Context, id string, n int) ([]StreamEntry, error) {
	from := "-"
	if id != "" {
		from = "(" + id
	}
	found, err := s.client.XRangeN(ctx, s.key, from, "+", int64(n)).Result()
	if err != nil {
		return nil, fmt.Errorf("stream: %w", err)
	}
	all := make([]StreamEntry, 0, len(found))
	for _, f := range found {
		e := StreamEntry{ID: f.ID, Fields: map[string]string{}}
		for name, value := range f.Values {
			e.Fields[name], _ = value.(string)
		}
		all = append(all, e)
	}

	return all, nil
}
