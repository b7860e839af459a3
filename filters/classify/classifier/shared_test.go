package classifier

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"postern/filters/classify/lessonlog"
	"postern/internal/state"
	"postern/internal/testing/redistest"
)

// node is a gateway that shares its lessons through Redis.
func node(t *testing.T, dir, redis, key string) *world {
	t.Helper()
	w := &world{t: t, dir: dir, time: time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)}
	book, err := lessonlog.Open(filepath.Join(dir, "classifier.db"))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := state.OpenStream(state.RedisOptions{Addresses: []string{redis}}, "lessons")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = book.Close(), stream.Close() })
	w.Classifier, err = Open(context.Background(), Options{Book: book, Log: lessonlog.Share(book, stream, key), Hostname: "mx.corp.example",
		HeaderName: "X-Postern", Snapshot: filepath.Join(dir, "classifier.model"), Rules: rules(), Now: func() time.Time { return w.time }})
	if err != nil {
		t.Fatal(err)
	}

	return w
}

// Three gateways that learn side by side know the same, bit by bit: also the one that was killed meanwhile, the one that has an
// old snapshot, and one that knew something before. A lesson that is given while Redis is away is not lost.
func TestGatewaysShareTheirLessons(t *testing.T) {
	redis := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	alone := open(t, dirs[2], rules())
	alone.teachMany(900, 910)

	var nodes []*world
	for _, dir := range dirs {
		nodes = append(nodes, node(t, dir, redis.Addr, "key"))
	}
	same := func(when string) {
		t.Helper()
		for _, n := range nodes {
			n.catchUp()
		}
		want := nodes[0].octets()
		for i, n := range nodes[1:] {
			if !bytes.Equal(n.octets(), want) {
				t.Errorf("%s: node %d knows %+v, node 0 %+v", when, i+1, n.status(), nodes[0].status())
			}
		}
	}
	teach := func(from, to int) {
		for n := from; n < to; n++ {
			w := nodes[n%len(nodes)]
			w.says("admin", letter(n, n%4 < 2), n%4 < 2, true)
		}
	}
	teach(0, 30)
	same("after 30 lessons")
	if s := nodes[0].status(); s.Ham+s.Spam != 40 {
		t.Errorf("%+v, want 30 lessons, and 10 that one of them had", s)
	}
	if err := nodes[1].Save(); err != nil {
		t.Fatal(err)
	}
	teach(30, 45)
	nodes[1] = node(t, dirs[1], redis.Addr, "key") // killed, and started again from a snapshot that is old
	teach(45, 60)
	same("after one was killed")

	redis.Kill()
	nodes[0].time = nodes[0].time.Add(time.Second)
	raw := letter(800, true)
	if err := nodes[0].Teach(context.Background(), message(raw), lesson(raw, true)); err != nil {
		t.Errorf("a lesson while Redis is away: %v", err)
	}
	redis.Restart()
	same("after Redis was away")
	if s := nodes[2].status(); s.Ham+s.Spam != 71 {
		t.Errorf("%+v, want 71 lessons", s)
	}

	if err := nodes[0].Forget(context.Background(), []string{sum(raw)}, ""); err != nil {
		t.Fatal(err)
	}
	same("after one was forgotten")
}

// A stream that is lost, with a server that kept nothing, is filled again from what the gateways know.
func TestLostStream(t *testing.T) {
	redis := redistest.Start(t)
	a, b := node(t, t.TempDir(), redis.Addr, "key"), node(t, t.TempDir(), redis.Addr, "key")
	a.teachMany(0, 10)
	b.teachMany(10, 20)
	a.catchUp()
	redis.Do("FLUSHALL")
	for range 2 { // the second round sees what the other has brought
		for _, w := range []*world{a, b} {
			w.catchUp()
		}
	}
	if !bytes.Equal(a.octets(), b.octets()) {
		t.Error("they know different things")
	}
	if s := a.status(); s.Ham+s.Spam != 20 {
		t.Errorf("%+v, want 20 lessons", s)
	}
}

// A gateway with another key would teach the others nonsense: it is told so, and learns nothing.
func TestOtherKey(t *testing.T) {
	redis := redistest.Start(t)
	a, b := node(t, t.TempDir(), redis.Addr, "key"), node(t, t.TempDir(), redis.Addr, "another")
	a.teachMany(0, 4)
	if err := b.CatchUp(context.Background()); !errors.Is(err, lessonlog.ErrOtherKey) {
		t.Errorf("%v", err)
	}
	if s := b.status(); s.Ham+s.Spam != 0 {
		t.Errorf("%+v", s)
	}
}
