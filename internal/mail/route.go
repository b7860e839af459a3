package mail

import (
	"fmt"
	"net/netip"
	"strings"
)

// Route is where a recipient's mail goes: to a next hop of the configuration by its name, or, from a transparent door, to
// the address that the client wanted to reach. The zero value is no route. Routes can be compared.
type Route struct {
	// NextHop is the name of a next hop, "" for a transparent route.
	NextHop string
	// To is the address of a transparent route. The connection comes from Client's address if that is valid, else from our own.
	To     netip.AddrPort
	Client netip.Addr
}

// RouteTo is the route to a next hop of the configuration.
func RouteTo(nextHop string) Route { return Route{NextHop: nextHop} }

// Transparent says whether the route leads to where a client wanted to go.
func (r Route) Transparent() bool { return r.To.IsValid() }

// IsZero says whether there is no route.
func (r Route) IsZero() bool { return r == Route{} }

// Transparent routes are written so that no next hop's name can look like one: those have no parentheses.
const (
	transparentRoute = "(transparent) "
	fromClient       = " from "
)

// String is the route as records, the queue and the console show it.
func (r Route) String() string {
	if !r.Transparent() {
		return r.NextHop
	}
	text := transparentRoute + r.To.String()
	if r.Client.IsValid() {
		text += fromClient + r.Client.Unmap().String()
	}
	return text
}

// MarshalText writes what String does.
func (r Route) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (r *Route) UnmarshalText(text []byte) error {
	*r = Route{}
	rest, transparent := strings.CutPrefix(string(text), transparentRoute)
	if !transparent {
		r.NextHop = string(text)
		return nil
	}
	to, client, given := strings.Cut(rest, fromClient)
	var err error
	if r.To, err = netip.ParseAddrPort(to); err == nil && given {
		r.Client, err = netip.ParseAddr(client)
	}
	if err != nil {
		*r = Route{}
		return fmt.Errorf("route %.80q: %w", text, err)
	}
	return nil
}
