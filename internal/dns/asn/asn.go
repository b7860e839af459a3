// Package asn says to which autonomous system (RFC 1930) and which country an address belongs, from databases in MaxMind's
// form.
package asn

import (
	"fmt"
	"net/netip"

	"github.com/oschwald/maxminddb-golang/v2"
)

// DB is an open database. It serves many goroutines.
type DB struct{ reader *maxminddb.Reader }

// Open opens a file and reads all of it once, so that a broken one is found now and not under load.
func Open(file string) (*DB, error) {
	r, err := maxminddb.Open(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := r.Verify(); err != nil {
		_ = r.Close() // it was only read
		return nil, fmt.Errorf("%s is damaged: %w", file, err)
	}
	return &DB{r}, nil
}

// maxName is how much of a system's name is used, in octets.
const maxName = 80

// Lookup gives number and name of the system, 0 if the database does not know the address.
func (d *DB) Lookup(a netip.Addr) (number uint32, name string) {
	found := d.reader.Lookup(a.Unmap().WithZone(""))
	if !found.Found() || found.DecodePath(&number, "autonomous_system_number") != nil {
		return 0, ""
	}
	if found.DecodePath(&name, "autonomous_system_organization") != nil {
		name = ""
	}
	if len(name) > maxName {
		name = name[:maxName]
	}
	return number, name
}

// Country gives the code of ISO 3166-1 of the country that an address is in, "" if the database does not know it.
func (d *DB) Country(a netip.Addr) string {
	code := ""
	found := d.reader.Lookup(a.Unmap().WithZone(""))
	if !found.Found() || found.DecodePath(&code, "country", "iso_code") != nil || len(code) != 2 {
		return ""
	}
	return code
}

// Close ends the use of the database.
func (d *DB) Close() error { return d.reader.Close() }
