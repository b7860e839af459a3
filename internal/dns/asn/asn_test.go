package asn

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

func database(t testing.TB) string {
	t.Helper()
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "GeoLite2-ASN", Description: map[string]string{"en": "for tests"}, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	for network, as := range map[string]mmdbtype.Map{
		"192.0.2.0/24":   {"autonomous_system_number": mmdbtype.Uint32(64500), "autonomous_system_organization": mmdbtype.String("Example Net")},
		"2001:db8::/32":  {"autonomous_system_number": mmdbtype.Uint32(64501)},
		"203.0.113.0/24": {"autonomous_system_number": mmdbtype.String("none")},
	} {
		_, n, err := net.ParseCIDR(network)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Insert(n, as); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "asn.mmdb")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLookup(t *testing.T) {
	db, err := Open(database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for text, want := range map[string]uint32{"192.0.2.77": 64500, "::ffff:192.0.2.1": 64500, "2001:db8::1": 64501, "198.51.100.1": 0, "203.0.113.1": 0} {
		if number, _ := db.Lookup(netip.MustParseAddr(text)); number != want {
			t.Errorf("%s: %d, want %d", text, number, want)
		}
	}
	if _, name := db.Lookup(netip.MustParseAddr("192.0.2.1")); name != "Example Net" {
		t.Errorf("name %q", name)
	}
	if number, _ := db.Lookup(netip.Addr{}); number != 0 {
		t.Errorf("no address: %d", number)
	}
}

// A database that is cut short or altered is refused when it is opened, or answers; it never panics.
func TestDamage(t *testing.T) {
	file := database(t)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	try := func(octets []byte) {
		if err := os.WriteFile(file, octets, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := Open(file)
		if err != nil {
			return
		}
		defer db.Close()
		db.Lookup(netip.MustParseAddr("192.0.2.1"))
		db.Lookup(netip.MustParseAddr("2001:db8::1"))
	}
	for n := 0; n < len(whole); n += 7 {
		try(whole[:n])
		altered := append([]byte(nil), whole...)
		altered[n] ^= 0xff
		try(altered)
	}
}

func BenchmarkLookup(b *testing.B) {
	db, err := Open(database(b))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	a := netip.MustParseAddr("192.0.2.77")
	for b.Loop() {
		db.Lookup(a)
	}
}
