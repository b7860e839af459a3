package state

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// What State asks of Redis. Each answer is told to the shadow; without an answer the shadow is asked, and what it counts
// is owed to Redis.

func (r *shared) take(ctx context.Context, key string, c cost) (ok bool, retry time.Duration) {
	now, least := r.local.now(), rateCell(0)
	if r.trusted() {
		least = r.local.rate(key)
	}
	var idle rateCell
	answered := r.ask(ctx, key, func(ctx context.Context) (err error) {
		answer, err := r.scripts.take.Run(ctx, r.client, []string{r.name(rateSort, key)},
			micros(now), fine(c.events), fine(c.room), fine(int64(least)), "").Slice()
		if err == nil {
			ok, idle, err = parseTake(answer)
		}
		return err
	})
	if !answered {
		ok, _, retry = r.local.take(key, c)
		if ok && c.events > 0 {
			r.owed.take(key, c, now)
		}
		return ok, retry
	}
	r.local.learnRate(key, idle)
	if ok {
		return true, 0
	}
	return false, max(time.Duration(int64(idle)+c.events-now-c.room), time.Microsecond)
}

func parseTake(answer []any) (ok bool, idle rateCell, err error) {
	if len(answer) == 2 {
		within, isNumber := answer[0].(int64)
		text, isText := answer[1].(string)
		if isNumber && isText {
			idle, err = parseFine(text)
			return within == 1, idle, err
		}
	}
	return false, 0, errForeign
}

func (r *shared) tally(ctx context.Context, key string, add Tally, half time.Duration) Tally {
	now := r.local.now()
	var least Tally
	if r.trusted() {
		least = r.local.tallyCell(key).decayed(now, half)
	}
	var c tallyCell
	answered := r.ask(ctx, key, func(ctx context.Context) error {
		var text string
		var err error
		if add == (Tally{}) {
			text, err = r.client.Get(ctx, r.name(tallySort, key)).Result()
		} else {
			text, err = r.scripts.tally.Run(ctx, r.client, []string{r.name(tallySort, key)}, micros(now), micros(int64(half)),
				number(add[0]), number(add[1]), number(least[0]), number(least[1])).Text()
		}
		if err == nil {
			c, err = parseTally(text, half)
		}
		return err
	})
	if !answered {
		if add != (Tally{}) {
			r.owed.tally(key, add, now, half)
		}
		return r.local.tally(key, add, half)
	}
	r.local.learnTally(key, c)
	return c.decayed(now, half).atLeast(least)
}

func (r *shared) addTo(ctx context.Context, key string, member uint64, keep time.Duration) (size int, fresh bool) {
	answered := r.ask(ctx, key, func(ctx context.Context) error {
		answer, err := r.scripts.addTo.Run(ctx, r.client, []string{r.name(setSort, key)},
			micros(r.local.now()), micros(int64(keep)), maxMembers, memberForm(member)).Int64Slice()
		if err == nil && len(answer) != 2 {
			err = errForeign
		}
		if err == nil {
			size, fresh = int(answer[0]), answer[1] == 1
		}
		return err
	})
	if !answered {
		r.owed.set(key, keep)
		return r.local.addTo(key, member, keep)
	}
	if r.trusted() {
		known, has := r.local.member(key, member)
		if len(known.members) > size {
			r.owed.set(key, keep) // Redis lost some of them
		}
		if known.size() > size {
			fresh = fresh && !has
			size = known.size()
			if fresh {
				size = min(size+1, maxMembers)
			}
		}
	}
	r.local.learnSet(key, []uint64{member}, size, later(r.local.now(), keep))
	return size, fresh
}

func memberForm(m uint64) []byte { return binary.BigEndian.AppendUint64(nil, m) }

func (r *shared) size(ctx context.Context, key string) int {
	var size int
	var ends int64
	answered := r.ask(ctx, key, func(ctx context.Context) error {
		p := r.client.Pipeline()
		fields, end := p.HLen(ctx, r.name(setSort, key)), p.HGet(ctx, r.name(setSort, key), "e")
		if _, err := p.Exec(ctx); err != nil {
			return err
		}
		micros, err := end.Int64()
		size, ends = int(fields.Val())-1, micros*1000
		return err
	})
	if !answered {
		return r.local.size(key)
	}
	if ends <= r.local.now() {
		size = 0
	}
	if r.trusted() {
		size = max(size, r.local.size(key))
	}
	if size > 0 {
		r.local.learnSet(key, nil, size, ends)
	}
	return size
}

func (r *shared) get(ctx context.Context, key string) ([]byte, bool) {
	asked := r.local.now()
	var v valueCell
	answered := r.ask(ctx, key, func(ctx context.Context) error {
		text, err := r.client.Get(ctx, r.name(valueSort, key)).Result()
		if err == nil {
			v, err = parseValue(text)
		}
		return err
	})
	known, ok := r.local.get(key)
	switch {
	case !answered:
		return []byte(known.octets), ok
	case ok && r.trusted() && known.put/1000 > v.put/1000:
		r.owed.value(key, known) // Redis lost it
		return []byte(known.octets), true
	case v.expires <= asked:
		r.local.unlearnValue(key, max(asked, v.put))
		return nil, false
	}
	r.local.learnValue(key, v)
	return []byte(v.octets), true
}

func (r *shared) put(ctx context.Context, key string, v valueCell) {
	r.local.put(key, v)
	if !r.ask(ctx, key, func(ctx context.Context) error {
		return r.client.Do(ctx, "SET", r.name(valueSort, key), v.form(), "PX", v.ttl()).Err()
	}) {
		r.owed.value(key, v)
	}
}

func (r *shared) putNew(ctx context.Context, key string, v valueCell) (old []byte, stored bool) {
	if r.trusted() {
		if old, ok := r.get(ctx, key); ok {
			return old, false
		}
	}
	var was valueCell
	answered := r.ask(ctx, key, func(ctx context.Context) error {
		text, err := r.scripts.putNew.Run(ctx, r.client, []string{r.name(valueSort, key)}, fmt.Sprintf("%016d", v.put/1000), v.form(), v.ttl()).Text()
		if errors.Is(err, redis.Nil) {
			stored = true
			return nil
		}
		if err == nil {
			was, err = parseValue(text)
		}
		return err
	})
	switch {
	case !answered:
		was, stored = r.local.putNew(key, v)
		if stored {
			r.owed.value(key, v)
		}
	case stored:
		r.local.put(key, v)
	default:
		r.local.learnValue(key, was)
	}
	if stored {
		return nil, true
	}
	return []byte(was.octets), false
}

// delete leaves a mark instead of a value, so that no node's shadow brings the value back.
func (r *shared) delete(ctx context.Context, key string) {
	r.local.delete(key)
	mark := valueCell{put: r.local.now()}
	if !r.ask(ctx, key, func(ctx context.Context) error {
		p := r.client.Pipeline()
		p.Set(ctx, r.name(valueSort, key), mark.form(), markTTL)
		r.unlink(ctx, p, key)
		_, err := p.Exec(ctx)
		return err
	}) {
		r.owed.forget(key, mark)
	}
}

// markTTL is for how long the mark of a deleted value stays.
const markTTL = 24 * time.Hour

func (r *shared) unlink(ctx context.Context, p redis.Pipeliner, key string) {
	for _, sort := range []byte{rateSort, tallySort, setSort} { // one by one: they may lie on different nodes
		p.Unlink(ctx, r.name(sort, key))
	}
}
