package ledger

import (
	"bytes"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"

	"postern/internal/mail"
	"postern/policy"
)

func execSQLite(t testing.TB, path, text string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(text); err != nil {
		t.Fatal(err)
	}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// chance makes up records, the same for the same seed.
type chance struct{ *rand.Rand }

func newChance(seed uint64) chance { return chance{rand.New(rand.NewPCG(seed, seed))} }

// text is one that a sender may write.
func (c chance) text() string {
	switch c.IntN(4) {
	case 0:
		b := make([]byte, c.IntN(20))
		for i := range b {
			b[i] = byte(c.IntN(256))
		}
		return string(b)
	case 1:
		var all []rune
		for range c.IntN(10) {
			all = append(all, rune(c.IntN(0x110000)))
		}
		return string(all)
	case 2:
		return ""
	}
	return fmt.Sprintf("word%d", c.IntN(1000))
}

func (c chance) address() mail.Address { return mail.Address{Local: c.text(), Domain: c.text()} }

func (c chance) facts() *policy.Facts {
	f := &policy.Facts{Stage: mail.Stage(c.IntN(4)), Outbound: c.IntN(2) == 0, From: c.address(), User: c.text()}
	if c.IntN(2) == 0 {
		f.Client = netip.AddrFrom4([4]byte{192, 0, byte(c.IntN(256)), byte(c.IntN(256))})
	}
	for range c.IntN(3) {
		f.HeaderFrom = append(f.HeaderFrom, c.address())
		f.Authenticated = append(f.Authenticated, c.text())
	}
	for range c.IntN(10) {
		f.Findings = append(f.Findings, policy.Finding{Symbol: c.text(), Filter: c.text(), Located: c.IntN(2) == 0, Weight: c.Float64() - 0.5})
	}
	return f
}
