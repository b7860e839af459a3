package frame

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// Bounds of the PROXY protocol ("The PROXY protocol, versions 1 & 2", HAProxy): section 2.1 allows a line of 107 octets,
// section 2.2 up to 64 KiB of addresses and TLVs, of which honest proxies need a few hundred.
const (
	maxProxyV1 = 107
	maxProxyV2 = 4 << 10
)

var (
	proxyV2Signature = []byte("\r\n\r\n\x00\r\nQUIT\n")
	errProxyHeader   = errors.New("not a PROXY header")
)

// readProxyHeader reads exactly the header, not an octet more. It gives the client's address, or none if the proxy speaks
// for itself (LOCAL) or does not know (UNKNOWN).
func readProxyHeader(r io.Reader) (netip.AddrPort, error) {
	// The shortest header of version 1 has 15 octets, so 12 can be read whatever it is.
	start := make([]byte, 12)
	if _, err := io.ReadFull(r, start); err != nil {
		return netip.AddrPort{}, fmt.Errorf("PROXY header: %w", err)
	}
	if bytes.Equal(start, proxyV2Signature) {
		return readProxyV2(r)
	}
	if !bytes.HasPrefix(start, []byte("PROXY ")) {
		return netip.AddrPort{}, errProxyHeader
	}
	return readProxyV1(r, start)
}

// readProxyV1 reads the rest of a line of section 2.1.
func readProxyV1(r io.Reader, line []byte) (netip.AddrPort, error) {
	one := make([]byte, 1)
	for !bytes.HasSuffix(line, []byte("\n")) {
		if len(line) == maxProxyV1 {
			return netip.AddrPort{}, fmt.Errorf("%w: line of more than %d octets", errProxyHeader, maxProxyV1)
		}
		if _, err := io.ReadFull(r, one); err != nil {
			return netip.AddrPort{}, fmt.Errorf("PROXY header: %w", err)
		}
		line = append(line, one[0])
	}
	text, ok := strings.CutSuffix(string(line), "\r\n")
	words := strings.Split(text, " ")
	if !ok || strings.ContainsAny(text, "\r\n\x00") {
		return netip.AddrPort{}, errProxyHeader
	}
	// Whatever follows UNKNOWN is to be ignored.
	if words[1] == "UNKNOWN" {
		return netip.AddrPort{}, nil
	}
	if len(words) != 6 {
		return netip.AddrPort{}, errProxyHeader
	}
	source, err := proxyV1Address(words[1], words[2], words[4])
	if err != nil {
		return netip.AddrPort{}, err
	}
	if _, err := proxyV1Address(words[1], words[3], words[5]); err != nil {
		return netip.AddrPort{}, err
	}
	return source, nil
}

func proxyV1Address(family, text, port string) (netip.AddrPort, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" || family != "TCP4" && family != "TCP6" || addr.Is4() != (family == "TCP4") {
		return netip.AddrPort{}, fmt.Errorf("%w: address", errProxyHeader)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || len(port) > 1 && port[0] == '0' {
		return netip.AddrPort{}, fmt.Errorf("%w: port", errProxyHeader)
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), nil
}

// readProxyV2 reads what stands behind the signature of section 2.2.
func readProxyV2(r io.Reader) (netip.AddrPort, error) {
	fixed := make([]byte, 4)
	if _, err := io.ReadFull(r, fixed); err != nil {
		return netip.AddrPort{}, fmt.Errorf("PROXY header: %w", err)
	}
	version, command, family := fixed[0]>>4, fixed[0]&15, fixed[1]
	length := int(binary.BigEndian.Uint16(fixed[2:]))
	if version != 2 || command > 1 {
		return netip.AddrPort{}, fmt.Errorf("%w: version or command", errProxyHeader)
	}
	if length > maxProxyV2 {
		return netip.AddrPort{}, fmt.Errorf("%w: more than %d octets", errProxyHeader, maxProxyV2)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return netip.AddrPort{}, fmt.Errorf("PROXY header: %w", err)
	}
	if command == 0 { // LOCAL: the proxy's own connection, a health check for one
		return netip.AddrPort{}, nil
	}
	size := 0
	switch family {
	case 0x11: // TCP over IPv4
		size = 4
	case 0x21: // TCP over IPv6
		size = 16
	case 0x00, 0x31: // unspecified, a local socket: the address is not known
		return netip.AddrPort{}, nil
	default:
		return netip.AddrPort{}, fmt.Errorf("%w: family 0x%02x", errProxyHeader, family)
	}
	if length < 2*size+4 {
		return netip.AddrPort{}, fmt.Errorf("%w: too short", errProxyHeader)
	}
	addr, _ := netip.AddrFromSlice(body[:size])
	return netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(body[2*size:])), nil
}
