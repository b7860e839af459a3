package lessons_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/policy/records/lessons"
)

func open(t *testing.T, o lessons.Options) *lessons.Journal {
	t.Helper()
	j, err := lessons.Open(filepath.Join(t.TempDir(), "lessons.db"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

func calendar() time.Time { return time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC) }

func sum(raw string) string {
	s := sha256.Sum256([]byte(raw))
	return hex.EncodeToString(s[:])
}

// learn takes a lesson on a message and wants an outcome.
func learn(t *testing.T, j *lessons.Journal, user, raw string, spam bool, how string, want lessons.Outcome) {
	t.Helper()
	m := mail.NewMessage([]byte(raw))
	defer m.Close()
	got, err := j.Learn(context.Background(), lessons.Lesson{Time: calendar(), User: user, Door: "imaps", SHA256: sum(raw), Spam: spam, How: how, Place: "Junk"}, m)
	if err != nil || got != want {
		t.Fatalf("%s, %v, %s: %s, %v; want %s", user, spam, how, got, err, want)
	}
}

func status(t *testing.T, j *lessons.Journal) lessons.Status {
	t.Helper()
	s, err := j.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestALessonIsKeptWithItsMessage(t *testing.T) {
	j := open(t, lessons.Options{})
	learn(t, j, "ann", "Subject: a\r\n\r\nbuy\r\n", true, lessons.Move, lessons.Stored)
	learn(t, j, "bob", "Subject: a\r\n\r\nbuy\r\n", true, lessons.Flag, lessons.Stored)
	learn(t, j, "ann", "Subject: b\r\n\r\nhello\r\n", false, lessons.Copy, lessons.Stored)
	if s := status(t, j); s.Spam != 2 || s.Ham != 1 || s.Undone != 0 || s.Users != 2 || s.Messages != 2 || !s.Newest.Equal(calendar()) {
		t.Errorf("%+v", s)
	}
	octets, ok, err := j.Content(context.Background(), sum("Subject: a\r\n\r\nbuy\r\n"))
	if err != nil || !ok || string(octets) != "Subject: a\r\n\r\nbuy\r\n" {
		t.Errorf("%q %v %v", octets, ok, err)
	}
	all, err := j.List(context.Background(), lessons.Filter{User: "ann"})
	if err != nil || len(all) != 2 || all[0].Spam || !all[1].Spam || all[1].Place != "Junk" || all[1].How != lessons.Move || !all[1].Time.Equal(calendar()) {
		t.Errorf("%+v %v", all, err)
	}
	later, err := j.List(context.Background(), lessons.Filter{After: all[1].ID, Limit: 1})
	if err != nil || len(later) != 1 || later[0].ID != all[1].ID+1 {
		t.Errorf("%+v %v", later, err)
	}
}

// Into Junk and out again is a slip, not two lessons; back again is a lesson anew. What others say does not matter.
func TestTheOppositeTakesBack(t *testing.T) {
	const raw = "Subject: a\r\n\r\nbuy\r\n"
	j := open(t, lessons.Options{})
	learn(t, j, "ann", raw, true, lessons.Move, lessons.Stored)
	learn(t, j, "ann", raw, true, lessons.Flag, lessons.Repeated)
	learn(t, j, "bob", raw, false, lessons.Move, lessons.Stored)
	learn(t, j, "ann", raw, false, lessons.Move, lessons.Restored)
	if s := status(t, j); s.Spam != 0 || s.Ham != 1 || s.Undone != 1 {
		t.Errorf("%+v", s)
	}
	all, err := j.List(context.Background(), lessons.Filter{User: "ann"})
	if err != nil || len(all) != 1 || !all[0].Undone.Equal(calendar()) || all[0].UndoneBy != "ann" {
		t.Errorf("%+v %v", all, err)
	}
	learn(t, j, "ann", raw, true, lessons.Move, lessons.Stored)
	learn(t, j, "eve", raw, true, lessons.Append, lessons.Stored)
	learn(t, j, "eve", raw, false, lessons.Move, lessons.Stored) // an upload had no place before
	if s := status(t, j); s.Spam != 1 || s.Ham != 2 || s.Undone != 2 {
		t.Errorf("%+v", s)
	}
}

func TestUndo(t *testing.T) {
	j := open(t, lessons.Options{Now: func() time.Time { return calendar().Add(time.Hour) }})
	learn(t, j, "ann", "x", true, lessons.Move, lessons.Stored)
	if l, err := j.Undo(context.Background(), 1, "admin"); err != nil || l.User != "ann" || l.SHA256 != sum("x") || !l.Spam {
		t.Fatal(l, err)
	}
	for _, id := range []int64{1, 2, -1} {
		if _, err := j.Undo(context.Background(), id, "admin"); !errors.Is(err, lessons.ErrUnknown) {
			t.Errorf("%d: %v", id, err)
		}
	}
	all, err := j.List(context.Background(), lessons.Filter{})
	if err != nil || len(all) != 1 || all[0].UndoneBy != "admin" || !all[0].Undone.Equal(calendar().Add(time.Hour)) {
		t.Errorf("%+v %v", all, err)
	}
	if all, err = j.List(context.Background(), lessons.Filter{Holding: true}); err != nil || len(all) != 0 {
		t.Errorf("%+v %v", all, err)
	}
}

func TestOneUserCanNotTeachAllDay(t *testing.T) {
	j := open(t, lessons.Options{Daily: 3})
	for i := range 5 {
		want := lessons.Stored
		if i >= 3 {
			want = lessons.Capped
		}
		learn(t, j, "ann", fmt.Sprint(i), true, lessons.Move, want)
	}
	learn(t, j, "bob", "0", true, lessons.Move, lessons.Stored)
	learn(t, j, "ann", "0", false, lessons.Move, lessons.Restored) // one's own slip can always be taken back
	learn(t, j, "ann", "0", true, lessons.Move, lessons.Capped)    // but flapping does not go around the cap
	l := lessons.Lesson{Time: calendar().Add(24 * time.Hour), User: "ann", SHA256: sum("9"), Spam: true}
	if got, err := j.Learn(context.Background(), l, nil); err != nil || got != lessons.Stored {
		t.Errorf("on the next day: %s %v", got, err)
	}
	if s := status(t, j); s.Capped != 3 || s.Spam != 4 || s.Messages != 3 {
		t.Errorf("%+v", s)
	}
}

func TestContentsAreBoundedAndExpire(t *testing.T) {
	j := open(t, lessons.Options{})
	large := strings.Repeat("0123456789abcdef", 1<<16)
	learn(t, j, "ann", large, true, lessons.Move, lessons.Stored)
	octets, ok, err := j.Content(context.Background(), sum(large))
	if err != nil || !ok || string(octets) != large[:lessons.MaxContent] {
		t.Errorf("%d octets, %v %v", len(octets), ok, err)
	}
	if n, err := j.Expire(context.Background(), calendar()); n != 0 || err != nil {
		t.Error(n, err)
	}
	if n, err := j.Expire(context.Background(), calendar().Add(time.Second)); n != 1 || err != nil {
		t.Error(n, err)
	}
	if _, ok, err := j.Content(context.Background(), sum(large)); ok || err != nil {
		t.Error("not forgotten", err)
	}
	if s := status(t, j); s.Spam != 1 || s.Messages != 0 {
		t.Errorf("%+v", s)
	}
}

func TestWhatCanNotBeALesson(t *testing.T) {
	j := open(t, lessons.Options{})
	for _, hash := range []string{"", "xyz", sum("a")[1:], sum("a") + "00", "'; DROP TABLE lesson; --"} {
		if _, err := j.Learn(context.Background(), lessons.Lesson{SHA256: hash}, nil); err == nil {
			t.Errorf("%q is taken", hash)
		}
	}
	long := strings.Repeat("x", 1<<20)
	if _, err := j.Learn(context.Background(), lessons.Lesson{SHA256: sum("a"), User: "'; DROP TABLE lesson; --\x00", MessageID: long, Place: long}, nil); err != nil {
		t.Fatal(err)
	}
	all, err := j.List(context.Background(), lessons.Filter{})
	if err != nil || len(all) != 1 || len(all[0].MessageID) > 1000 || all[0].Time.IsZero() {
		t.Errorf("%+v %v", all, err)
	}
}

func TestAThousandLessons(t *testing.T) {
	j := open(t, lessons.Options{})
	begun := time.Now()
	var all sync.WaitGroup
	for user := range 4 {
		all.Go(func() {
			for i := range 250 {
				raw := fmt.Sprintf("Subject: %d.%d\r\n\r\n%s\r\n", user, i, strings.Repeat("buy now ", 500))
				m := mail.NewMessage([]byte(raw))
				if got, err := j.Learn(context.Background(), lessons.Lesson{User: fmt.Sprint(user), SHA256: sum(raw), Spam: i%2 == 0, How: lessons.Move}, m); got != lessons.Stored || err != nil {
					t.Errorf("%s %v", got, err)
				}
			}
		})
	}
	all.Wait()
	t.Logf("1,000 lessons in %v", time.Since(begun))
	if s := status(t, j); s.Spam != 500 || s.Ham != 500 || s.Messages != 1000 {
		t.Errorf("%+v", s)
	}
}

// A wish is kept and counted for itself; classifiers don't get it.
func TestAWishTeachesNobody(t *testing.T) {
	j := open(t, lessons.Options{})
	learn(t, j, "ann", "one", false, lessons.Wish, lessons.Stored)
	learn(t, j, "ann", "one", false, lessons.Wish, lessons.Repeated)
	if s := status(t, j); s.Wishes != 1 || s.Ham != 0 {
		t.Errorf("%+v", s)
	}
	taught, err := j.List(context.Background(), lessons.Filter{Holding: true})
	all, err2 := j.List(context.Background(), lessons.Filter{})
	if err != nil || err2 != nil || len(taught) != 0 || len(all) != 1 {
		t.Errorf("%v, %v, %v, %v", taught, all, err, err2)
	}
}

// Only the user can withdraw a lesson; what gave no lesson is counted.
func TestTakeBackAndPass(t *testing.T) {
	j, ctx := open(t, lessons.Options{}), context.Background()
	learn(t, j, "ann", "one", true, lessons.Move, lessons.Stored)
	for _, c := range []struct {
		user string
		spam bool
		want bool
	}{{"bob", true, false}, {"ann", false, false}, {"ann", true, true}, {"ann", true, false}} {
		if ok, err := j.TakeBack(ctx, c.user, sum("one"), c.spam); err != nil || ok != c.want {
			t.Errorf("%+v: %v, %v", c, ok, err)
		}
	}
	for _, why := range []string{lessons.Bulk, lessons.Login, lessons.Bulk} {
		if err := j.Pass(ctx, "ann", why, 950); err != nil {
			t.Error(err)
		}
	}
	if s := status(t, j); s.Undone != 1 || s.Spam != 0 || s.Bulk != 1900 || s.Login != 950 {
		t.Errorf("%+v", s)
	}
}
