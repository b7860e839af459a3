package sweep_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"

	"postern/policy/records/recall"
	"postern/proxy/access"
	"postern/proxy/retrieval/sweep"
)

// literal is a message to be appended.
type literal struct{ *strings.Reader }

func (l literal) Size() int64 { return l.Reader.Size() }

// box is a mail server in memory with one user and some messages, and the route to it.
func box(t *testing.T, caps imap.CapSet, ids ...string) (access.Route, *imapmemserver.User) {
	t.Helper()
	memory, user := imapmemserver.New(), imapmemserver.NewUser("ann*gw", "master")
	for _, name := range []string{"INBOX", "Work"} {
		if err := user.Create(name, nil); err != nil {
			t.Fatal(err)
		}
	}
	for i, id := range ids {
		raw := "Message-ID: " + id + "\r\nSubject: x\r\n\r\nx\r\n"
		if _, err := user.Append([]string{"INBOX", "Work"}[i%2], literal{strings.NewReader(raw)}, &imap.AppendOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	memory.AddUser(user)
	server := imapserver.New(&imapserver.Options{Caps: caps, InsecureAuth: true,
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return memory.NewSession(), nil, nil
		}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }() // until it is closed
	t.Cleanup(func() { _ = server.Close() })
	return access.Route{Name: "default", MasterUser: "gw", MasterPassword: "master", Separator: "*",
		IMAP: []access.Backend{{Name: "default", Address: l.Addr().String(), TLS: access.TLSNone}}}, user
}

// A server without MOVE has messages copied and expunged one by one; one without UIDPLUS has them marked, since an EXPUNGE
// would take what others marked. Twice is once.
func TestSweepByWhatTheServerCan(t *testing.T) {
	recalls := []recall.Entry{{MessageID: "<bad@x.test>"}, {MessageID: "<worse@x.test>"}, {MessageID: "<bad@x.test>"}}
	for name, c := range map[string]struct {
		caps          imap.CapSet
		moved, marked int
	}{
		"MOVE":    {imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapMove: {}}, 3, 0},
		"UIDPLUS": {imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapUIDPlus: {}}, 3, 0},
		"neither": {imap.CapSet{imap.CapIMAP4rev1: {}}, 0, 3},
	} {
		t.Run(name, func(t *testing.T) {
			route, user := box(t, c.caps, "<bad@x.test>", "<worse@x.test>", "<good@x.test>", "<not-bad@x.test>", "<bad@x.test>")
			o := sweep.Options{Route: route, Recalls: recalls, To: "Away"}
			r := sweep.User(context.Background(), o, "ann")
			if r.Error != "" || r.Found != 3 || r.Moved != c.moved || r.Marked != c.marked || r.Mailboxes != 2 {
				t.Errorf("%+v", r)
			}
			away, err := user.Status("Away", &imap.StatusOptions{NumMessages: true})
			if err != nil || *away.NumMessages != 3 {
				t.Errorf("%+v, %v", away, err)
			}
			if r := sweep.User(context.Background(), o, "ann"); r.Found != 0 || r.Error != "" {
				t.Errorf("again: %+v", r)
			}
		})
	}
}

// Who can't be logged in is told of, and nothing is tried for names that are none.
func TestSweepOfNobody(t *testing.T) {
	route, _ := box(t, imap.CapSet{imap.CapIMAP4rev1: {}})
	for _, user := range []string{"bob", "a*b", "a\r\nb"} {
		if r := sweep.User(context.Background(), sweep.Options{Route: route}, user); r.Error == "" || r.Mailboxes != 0 {
			t.Errorf("%+v", r)
		}
	}
	route.MasterUser = ""
	if r := sweep.User(context.Background(), sweep.Options{Route: route}, "ann"); !strings.Contains(r.Error, "master_user") {
		t.Errorf("%+v", r)
	}
}

// What has a Message-ID can be looked for; a hash alone can't, unless the same message was called back by its id, too.
func TestSearchable(t *testing.T) {
	got, others := sweep.Searchable([]recall.Entry{{SHA256: "a", ID: "1"}, {MessageID: "<1@x>", ID: "1"}, {SHA256: "b", ID: "2"}, {SHA256: "c"}, {SHA256: "d", MessageID: "<2@x>"}})
	if len(got) != 2 || got[0].ID != "1" || got[1].SHA256 != "d" || others != 2 {
		t.Errorf("%+v, %d", got, others)
	}
}
