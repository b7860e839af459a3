package mail

import (
	"net/netip"
	"testing"
)

// A route is stored with queued and held mail, and read again by the next version of the program.
func TestRouteText(t *testing.T) {
	for text, want := range map[string]Route{
		"":                           {},
		"default":                    RouteTo("default"),
		"(outbound)":                 RouteTo("(outbound)"),
		"(transparent) 192.0.2.1:25": {To: netip.MustParseAddrPort("192.0.2.1:25")},
		"(transparent) [2001:db8::1]:2525 from 198.51.100.7": {To: netip.MustParseAddrPort("[2001:db8::1]:2525"), Client: netip.MustParseAddr("198.51.100.7")},
	} {
		var r Route
		if err := r.UnmarshalText([]byte(text)); err != nil || r != want || r.String() != text {
			t.Errorf("%q: %+v, %q, %v", text, r, r, err)
		}
		if r.IsZero() != (text == "") {
			t.Errorf("%q: zero is %v", text, r.IsZero())
		}
	}
	for _, text := range []string{"(transparent) ", "(transparent) x:25", "(transparent) 192.0.2.1:25 from x"} {
		var r Route
		if err := r.UnmarshalText([]byte(text)); err == nil || !r.IsZero() {
			t.Errorf("%q is read as %+v", text, r)
		}
	}
}
