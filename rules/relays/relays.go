// Package relays reads the way of a message from its Received fields, as SpamAssassin does: who gave it to whom, and which
// of them are ours. Mail servers write the clause "from" in some sixty ways (formats.go); what can't be read is counted.
package relays

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Relay is one handover: IP gave the message to By.
type Relay struct {
	IP, RDNS, Helo, By, ID, Ident, EnvFrom, Auth string
	// HasEnvFrom says that the field names an envelope sender, be it the empty one.
	HasEnvFrom bool
	// NoRDNS says that the server looks names up and found none.
	NoRDNS bool
	// Private says that the address is of no public network.
	Private bool
	// Internal and MSA say where it stands.
	Internal, MSA bool
}

// String is the handover as the rules about X-Spam-Relays-* expect it.
func (r *Relay) String() string {
	return fmt.Sprintf("[ ip=%s rdns=%s helo=%s by=%s ident=%s envfrom=%s intl=%d id=%s auth=%s msa=%d ]",
		r.IP, r.RDNS, r.Helo, r.By, r.Ident, r.EnvFrom, digit(r.Internal), r.ID, r.Auth, digit(r.MSA))
}

// Reversed is the address as lists in the DNS are asked for it, nothing for one of no public network.
func (r *Relay) Reversed() []string {
	a, err := netip.ParseAddr(r.IP)
	if err != nil || r.Private {
		return nil
	}
	return []string{reverse(a.Unmap())}
}

// reverse writes an address backwards (RFC 5782 section 2).
func reverse(a netip.Addr) string {
	var parts []string
	raw := a.AsSlice()
	for i := len(raw) - 1; i >= 0; i-- {
		if a.Is4() {
			parts = append(parts, strconv.Itoa(int(raw[i])))
		} else {
			parts = append(parts, strconv.FormatInt(int64(raw[i]&15), 16), strconv.FormatInt(int64(raw[i]>>4), 16))
		}
	}
	return strings.Join(parts, ".")
}

// ReverseIP writes an address as lists in the DNS are asked for it.
func ReverseIP(a netip.Addr) string { return reverse(a.Unmap()) }

func digit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Networks are those an administrator calls his own. Without any, private addresses and logins are trusted.
type Networks struct {
	Trusted, Internal, MSA []Network
}

// Network is a network that belongs to a set, or that Not takes out of it.
type Network struct {
	Prefix netip.Prefix
	Not    bool
}

// contains says whether an address is in a set; the loopback always is.
func contains(set []Network, ip string) bool {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return false
	}
	a = a.Unmap()
	if a.IsLoopback() {
		return true
	}
	best, in := -1, false
	for _, n := range set {
		if n.Prefix.Contains(a) && n.Prefix.Bits() > best {
			best, in = n.Prefix.Bits(), !n.Not
		}
	}
	return in
}

// Contains says whether the trusted networks hold an address.
func (n Networks) Contains(ip string) bool {
	if len(n.Trusted) == 0 {
		return contains(n.Internal, ip)
	}
	return contains(n.Trusted, ip)
}

// Path is the way of a message, the latest handover first.
type Path struct {
	Trusted, Untrusted, Internal, External []*Relay
	// Unparseable counts fields that could not be read.
	Unparseable int
	// LastTrusted and LastInternal are indexes of Received fields, -1 for none.
	LastTrusted, LastInternal int
}

// Join writes relays as one text.
func Join(all []*Relay) string {
	texts := make([]string, len(all))
	for i, r := range all {
		texts[i] = r.String()
	}
	return strings.Join(texts, " ")
}

// maxFields is how many Received fields are read. Real mail has up to thirty.
const maxFields = 200

// Read sorts the handovers that Received fields tell of, the topmost first. First, if it is not nil, is the connection the
// message comes over, which no field tells of yet. Origin are addresses of X-Originating-IP and the like.
func Read(first *Relay, fields, origin []string, nets Networks) *Path {
	w := &walk{path: &Path{LastTrusted: -1, LastInternal: -1}, nets: nets, trusted: true, internal: true, fetched: true}
	if first != nil {
		w.add(first)
		w.path.LastTrusted, w.path.LastInternal = -1, -1
	}
	for _, ip := range origin {
		fields = append(fields, "from X-Originating-IP: "+ip+"\n")
	}
	for _, f := range fields[:min(len(fields), maxFields)] {
		w.field(f)
	}
	return w.path
}

// walk goes from the last relay to the first one.
type walk struct {
	path *Path
	nets Networks
	// trusted and internal say whether all relays so far are.
	trusted, internal, msa bool
	// fetched says that a field of a program that fetches mail starts the path anew.
	fetched bool
	// scanned is the envelope sender that a scanner noted for the next handover.
	scanned *string
}

func (w *walk) field(text string) {
	scanned := w.scanned
	w.scanned = nil
	p := parseField(text)
	switch {
	case p.fetched && w.fetched:
		w.path.Trusted, w.path.Internal, w.path.External = nil, nil, nil
	case p.scanner:
		w.scanned = &p.relay.EnvFrom
	}
	if p.unknown {
		w.path.Unparseable++
	}
	if p.unknown || p.skip {
		if w.trusted {
			w.path.LastTrusted++
		}
		if w.internal {
			w.path.LastInternal++
		}
		return
	}
	if scanned != nil {
		p.relay.EnvFrom, p.relay.HasEnvFrom = *scanned, true
	}
	w.add(&p.relay)
}

// add sorts a handover in.
func (w *walk) add(r *Relay) {
	if w.trusted && !w.msa {
		w.judge(r)
	}
	r.Internal = w.internal
	if w.trusted {
		w.path.Trusted = append(w.path.Trusted, r)
		w.path.LastTrusted++
	} else {
		w.path.Untrusted = append(w.path.Untrusted, r)
	}
	w.fetched = w.trusted
	if w.internal {
		w.path.Internal = append(w.path.Internal, r)
		w.path.LastInternal++
	} else {
		w.path.External = append(w.path.External, r)
	}
}

// judgeUnlisted trusts private networks and who logged in, where no networks are set.
func (w *walk) judgeUnlisted(r *Relay) {
	if !r.Private && r.Auth == "" {
		w.trusted, w.internal = false, false
	}
}

// orElse gives the first list, or the second one if the first is empty.
func orElse[T any](first, second []T) []T {
	if len(first) == 0 {
		return second
	}
	return first
}

// judge says whether a relay ends the chain of those that are trusted, or that are internal.
func (w *walk) judge(r *Relay) {
	trusted, internal := w.nets.Trusted, w.nets.Internal
	if len(trusted) == 0 && len(internal) == 0 {
		w.judgeUnlisted(r)
		return
	}
	trusted, internal = orElse(trusted, internal), orElse(internal, trusted)
	if r.Auth == "" && !contains(trusted, r.IP) {
		w.trusted, w.internal = false, false
		return
	}
	if w.internal && r.Auth == "" && !contains(internal, r.IP) {
		w.internal = false
	}
	if len(w.nets.MSA) > 0 && contains(w.nets.MSA, r.IP) {
		w.msa, r.MSA = true, true
	}
}

// Private says whether an address is of no public network: RFC 1918, RFC 6598, loopback, link-local.
func Private(ip string) bool {
	a, err := netip.ParseAddr(strings.TrimPrefix(strings.ToLower(ip), "ipv6:"))
	if err != nil {
		return false
	}
	a = a.Unmap()
	if a.Is6() {
		return a.IsLoopback() || a.IsLinkLocalUnicast()
	}
	b := a.As4()
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || b[0] == 127 || b[0] == 100 && b[1]&0xc0 == 64
}
