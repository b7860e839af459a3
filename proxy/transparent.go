package proxy

import (
	"net/netip"
	"strings"
)

// transparentRoute begins the names of routes that lead where a client of a transparent door wanted to go.
const transparentRoute = "(transparent) "

// TransparentRoute names the route to an address, by connections from the client's own address if so wanted.
func TransparentRoute(to netip.AddrPort, client netip.Addr, fromClient bool) string {
	name := transparentRoute + to.String()
	if fromClient {
		name += " from " + client.Unmap().String()
	}
	return name
}

// Transparent reads the name of such a route; from is not valid if it is our own address.
func Transparent(route string) (to netip.AddrPort, from netip.Addr, ok bool) {
	text, ok := strings.CutPrefix(route, transparentRoute)
	if !ok {
		return to, from, false
	}
	text, client, given := strings.Cut(text, " from ")
	to, err := netip.ParseAddrPort(text)
	if err == nil && given {
		from, err = netip.ParseAddr(client)
	}
	return to, from, err == nil
}
