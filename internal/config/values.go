package config

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Size is a number of octets, written with a unit: "50MB", "256KiB".
type Size int64

type unit struct {
	name   string
	octets float64
}

func units() []unit {
	return []unit{
		{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
		{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
	}
}

// UnmarshalText reads a size. KB, MB, GB count in thousands, KiB, MiB, GiB in 1024; a bare number is octets.
func (s *Size) UnmarshalText(text []byte) error {
	word, factor := strings.TrimSpace(string(text)), 1.0
	for _, u := range units() {
		if len(word) > len(u.name) && strings.EqualFold(word[len(word)-len(u.name):], u.name) {
			word, factor = strings.TrimSpace(word[:len(word)-len(u.name)]), u.octets
			break
		}
	}
	n, err := strconv.ParseFloat(word, 64)
	if err != nil || strings.ContainsAny(word, "eExXnN") {
		return fmt.Errorf("%q is not a size; write a number and a unit, as in \"50MB\" or \"256KiB\"", text)
	}
	if n < 0 || n*factor > 1<<50 {
		return fmt.Errorf("%q is out of range; a size is between 0 and 1PB", text)
	}
	*s = Size(math.Round(n * factor))
	return nil
}

// MarshalText writes the size in the largest unit that leaves no fraction.
func (s Size) MarshalText() ([]byte, error) {
	best := unit{"B", 1}
	for _, u := range units() {
		if s > 0 && int64(s)%int64(u.octets) == 0 && u.octets > best.octets {
			best = u
		}
	}
	return fmt.Appendf(nil, "%d%s", int64(s)/int64(best.octets), best.name), nil
}

// Duration is a span of time with its unit: "30s", "5m", "1h30m", "30d".
type Duration time.Duration

// Std is the duration as package time has it.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// UnmarshalText reads a duration. Days are of 24 hours and stand alone.
func (d *Duration) UnmarshalText(text []byte) error {
	word := strings.TrimSpace(string(text))
	var span time.Duration
	var err error
	if days, ok := strings.CutSuffix(word, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		if n < 0 || n > 36500 {
			return fmt.Errorf("%q is out of range; up to 36500d is possible", text)
		}
		span = time.Duration(n) * 24 * time.Hour
	} else {
		span, err = time.ParseDuration(word)
	}
	if err != nil || word == "0" {
		return fmt.Errorf("%q is not a duration; write a number and a unit, as in \"30s\", \"5m\", \"1h\" or \"30d\"", text)
	}
	if span < 0 {
		return fmt.Errorf("%q is negative; write a duration of 0s or more", text)
	}
	*d = Duration(span)
	return nil
}

// MarshalText writes whole days as such.
func (d Duration) MarshalText() ([]byte, error) {
	const day = Duration(24 * time.Hour)
	if d > 0 && d%day == 0 {
		return fmt.Appendf(nil, "%dd", d/day), nil
	}
	word := time.Duration(d).String()
	word = strings.TrimSuffix(word, "m0s") + map[bool]string{true: "m"}[strings.HasSuffix(word, "m0s")]
	word = strings.TrimSuffix(word, "h0m") + map[bool]string{true: "h"}[strings.HasSuffix(word, "h0m")]
	return []byte(word), nil
}

// Network is an address or a prefix: "192.0.2.7", "192.0.2.0/24", "2001:db8::/32".
type Network struct{ netip.Prefix }

// UnmarshalText reads a network. Bits behind the prefix are a mistake: the admin meant another network.
func (n *Network) UnmarshalText(text []byte) error {
	p, err := ParseNetwork(string(text))
	*n = Network{p}
	return err
}

// MarshalText writes a single address without its prefix length.
func (n Network) MarshalText() ([]byte, error) {
	if n.IsSingleIP() {
		return n.Addr().MarshalText()
	}
	return n.Prefix.MarshalText()
}

// ParseNetwork reads an address or a prefix.
func ParseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("%q is not a network; write an address or a prefix, as in \"192.0.2.7\" or \"192.0.2.0/24\"", text)
	}
	if p.Masked() != p {
		return p, fmt.Errorf("%q has bits behind its prefix; did you mean \"%s\"?", text, p.Masked())
	}
	return p, nil
}

// Networks is a list of them.
type Networks []Network

// Contains says whether one of the networks holds the address. IPv4 in IPv6 counts as IPv4.
func (n Networks) Contains(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(n, func(one Network) bool { return one.Prefix.Contains(a) })
}

// Switch is true, false or, until the defaults are filled in, neither.
type Switch int8

// The settings of a Switch.
const (
	Unset Switch = iota
	On
	Off
)

// On says whether it is on.
func (s Switch) On() bool { return s == On }

func (s *Switch) fill(on bool) {
	if *s == Unset {
		*s = Off
		if on {
			*s = On
		}
	}
}

// UnmarshalText reads true or false.
func (s *Switch) UnmarshalText(text []byte) error {
	switch string(text) {
	case "true":
		*s = On
	case "false":
		*s = Off
	default:
		return fmt.Errorf("%q is neither true nor false; write true or false, without quotes", text)
	}
	return nil
}

// MarshalText writes true or false.
func (s Switch) MarshalText() ([]byte, error) { return strconv.AppendBool(nil, s == On), nil }

// Listen is an address to listen on: "0.0.0.0:25", "[::1]:2525", ":25". "" is not listening.
type Listen string

// UnmarshalText reads an address to listen on.
func (l *Listen) UnmarshalText(text []byte) error {
	*l = Listen(text)
	if len(text) == 0 {
		return nil
	}
	host, err := splitPort(string(text), 0, `":25" or "127.0.0.1:2525"`)
	if err != nil {
		return err
	}
	if host == "" || host == "localhost" {
		return nil
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return fmt.Errorf("%q is not an address of this machine; write an IP address before the port, or none for all of them", host)
	}
	return nil
}

// MarshalText gives it as it was written.
func (l Listen) MarshalText() ([]byte, error) { return []byte(l), nil }

// HostPort is a host, by name or address, with a port: "exchange.internal:25".
type HostPort string

// UnmarshalText reads a host with its port.
func (h *HostPort) UnmarshalText(text []byte) error {
	*h = HostPort(text)
	host, err := splitPort(string(text), 1, `"exchange.internal:25" or "10.0.0.5:25"`)
	if err != nil {
		return err
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	if strings.Trim(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") != "" || host == "" {
		return fmt.Errorf("%q is neither a host name nor an address; write \"exchange.internal:25\" or \"10.0.0.5:25\"", host)
	}
	return nil
}

// MarshalText gives it as it was written.
func (h HostPort) MarshalText() ([]byte, error) { return []byte(h), nil }

func splitPort(text string, lowest int, example string) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", fmt.Errorf("%q has no port; write it like %s", text, example)
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < lowest || n > 65535 {
		return "", fmt.Errorf("%q has the port %q; a port is a number between 1 and 65535", text, port)
	}
	return host, nil
}

// Server is a name server: an address, with a port where it isn't 53.
type Server string

// UnmarshalText reads the address of a name server.
func (s *Server) UnmarshalText(text []byte) error {
	if a, err := netip.ParseAddr(string(text)); err == nil {
		*s = Server(netip.AddrPortFrom(a, 53).String())
		return nil
	}
	ap, err := netip.ParseAddrPort(string(text))
	if err != nil || ap.Port() == 0 {
		return fmt.Errorf("%q is not the address of a name server; write an IP address with or without a port, as in \"127.0.0.1:53\"", text)
	}
	*s = Server(ap.String())
	return nil
}

// MarshalText gives it with its port.
func (s Server) MarshalText() ([]byte, error) { return []byte(s), nil }
