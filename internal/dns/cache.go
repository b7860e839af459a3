package dns

import (
	"container/list"
	"sync"
	"time"
)

type ttls struct{ min, max, negative time.Duration }

// cache keeps answers, the least recently used of which goes first. It is bounded in octets, because whoever we ask
// about chooses how large the answers are.
type cache struct {
	mu    sync.Mutex
	ttls  ttls
	room  int
	used  int
	items map[question]*list.Element
	order *list.List // front is the most recently used
}

type entry struct {
	question question
	answer   answer
	expires  time.Time
	size     int
}

// entryOverhead is about what an entry costs besides its octets.
const entryOverhead = 400

func newCache(octets int, t ttls) *cache {
	return &cache{ttls: t, room: octets, items: map[question]*list.Element{}, order: list.New()}
}

func (c *cache) get(q question, now time.Time) (answer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.items[q]
	if e == nil {
		return answer{}, false
	}
	kept := e.Value.(*entry)
	if !now.Before(kept.expires) {
		c.remove(e)
		return answer{}, false
	}
	c.order.MoveToFront(e)
	return kept.answer, true
}

func (c *cache) put(q question, a answer, now time.Time) {
	longest := c.ttls.max
	if len(a.records) == 0 && a.alias == "" {
		longest = c.ttls.negative
	}
	ttl := min(max(a.ttl, c.ttls.min), longest)
	e := &entry{question: q, answer: a, expires: now.Add(ttl), size: entryOverhead + len(q.name) + 2*a.size}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.size > c.room {
		return
	}
	if old := c.items[q]; old != nil {
		c.remove(old)
	}
	for c.used+e.size > c.room {
		c.remove(c.order.Back())
	}
	c.items[q] = c.order.PushFront(e)
	c.used += e.size
}

func (c *cache) remove(e *list.Element) {
	kept := c.order.Remove(e).(*entry)
	delete(c.items, kept.question)
	c.used -= kept.size
}
