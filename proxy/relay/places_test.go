package relay

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"
)

// A transaction that needs a connection at the very moment at which another lays it down gets it at once, and does not
// wait for the end of its rest.
func TestNobodyWaitsForATransactionThatRests(t *testing.T) {
	const rounds = 20_000
	for i := range rounds {
		h := &hopState{places: newPlaces(1), closed: true}
		first := party{purpose: question, network: netip.MustParsePrefix("192.0.2.0/24")}
		if err := h.places.take(context.Background(), first, time.Second); err != nil {
			t.Fatal(err)
		}
		near, far := net.Pipe()
		d := &delivery{conn: &conn{hop: h, nc: near, broken: true, times: Timeouts{Hold: 20 * time.Second}, party: first}}
		d.wake()

		begun, got := time.Now(), make(chan error)
		go func() {
			got <- h.places.take(context.Background(), party{purpose: question, network: netip.MustParsePrefix("198.51.100.0/24")}, 10*time.Second)
		}()
		if i%2 == 0 {
			time.Sleep(time.Duration(i%7) * time.Microsecond)
		}
		d.rest()
		if err := <-got; err != nil || time.Since(begun) > 3*time.Second {
			t.Fatalf("round %d: %v after %v", i, err, time.Since(begun))
		}
		d.wake()
		d.mu.Unlock()
		_ = far.Close()
	}
}
