package state

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	listTime  = 2 * time.Second
	scanCount = 1000
)

// list walks over the keys of every master with SCAN, for a bounded time.
func (r *shared) list(ctx context.Context, prefix string, limit int) []Entry {
	if r.outage.away.Load() {
		return r.local.list(prefix, limit)
	}
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	var mu sync.Mutex
	found := map[string]valueCell{} // SCAN may give a key twice
	walk := func(ctx context.Context, node *redis.Client) error {
		return r.scan(ctx, node, prefix, func(key string, v valueCell) (more bool) {
			mu.Lock()
			defer mu.Unlock()
			if v.expires > r.local.now() && len(found) < limit {
				found[key] = v
			}
			return len(found) < limit
		})
	}
	var err error
	switch c := r.client.(type) {
	case *redis.ClusterClient:
		err = c.ForEachMaster(ctx, walk)
	case *redis.Client:
		err = walk(ctx, c)
	}
	if err != nil && len(found) == 0 {
		return r.local.list(prefix, limit)
	}
	all := make([]Entry, 0, len(found))
	for key, v := range found {
		all = append(all, v.entry(key))
	}
	return first(all, limit)
}

func (r *shared) scan(ctx context.Context, node *redis.Client, prefix string, found func(string, valueCell) bool) error {
	match := globbed(r.name(valueSort, prefix)) + "*"
	var cursor uint64
	for {
		names, next, err := node.Scan(ctx, cursor, match, scanCount).Result()
		if err != nil {
			return err
		}
		p := node.Pipeline()
		for _, name := range names {
			p.Get(ctx, name)
		}
		answers, _ := p.Exec(ctx) // a key may have gone, or moved to another node: it is left out
		for i, a := range answers {
			text, err := a.(*redis.StringCmd).Result()
			if err != nil {
				continue
			}
			if v, err := parseValue(text); err == nil && !found(strings.TrimPrefix(names[i], r.name(valueSort, "")), v) {
				return nil
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// globbed is a text that MATCH takes for itself.
func globbed(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(s)
}
