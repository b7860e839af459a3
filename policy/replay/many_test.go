package replay

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/policy/records/ledger"
)

// BenchmarkMonth replays 100,000 stored transactions; POSTERN_MANY names that one wants to wait for it.
func BenchmarkMonth(b *testing.B) {
	n := 5_000
	if os.Getenv("POSTERN_MANY") != "" {
		n = 100_000
	}
	l, err := ledger.Open(filepath.Join(b.TempDir(), "ledger.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	r := rand.New(rand.NewPCG(3, 3))
	p := randomPolicy(b, r)
	at := time.Now().Add(-30 * 24 * time.Hour)
	for i := range n / 1000 {
		for _, t := range month(r, p, 1000, at.Add(time.Duration(i)*2000*time.Second)) {
			l.Transaction(t)
		}
		if err := l.Flush(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for range b.N {
		report, err := Rescore(context.Background(), l, p, Options{Since: at.Add(-time.Hour)})
		if err != nil || report.Messages != n || report.Flipped != 0 {
			b.Fatalf("%d of %d, %d flipped, %v", report.Messages, n, report.Flipped, err)
		}
	}
}
