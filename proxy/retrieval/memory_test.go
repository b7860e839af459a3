package retrieval

import (
	"strings"
	"testing"
	"time"
)

func FuzzEntry(f *testing.F) {
	e := entry{ruling: Ruling{Masked: true, ID: "01H.1", Why: "why"}, epoch: 5, at: time.UnixMilli(1800000000123), messageID: "<a@b>", sealID: "01H.2"}
	f.Add(e.append(nil))
	f.Add([]byte{1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, ok := parseEntry(b)
		if !ok || len(e.ruling.Why) > maxWhy {
			return
		}
		if again, ok := parseEntry(e.append(nil)); !ok || again != e {
			t.Fatalf("%+v became %+v", e, again)
		}
	})
}

func TestAnEntryIsSmallEnoughToBeKept(t *testing.T) {
	e := entry{ruling: Ruling{ID: strings.Repeat("x", 64), Why: strings.Repeat("y", 5000)}, messageID: bounded(strings.Repeat("z", maxMessageID))}
	if n := len(e.append(nil)); n > 4096 {
		t.Errorf("%d octets", n)
	}
}
