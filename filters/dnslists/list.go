package dnslists

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/mail"
)

const (
	maxLists = 40
	maxCodes = 64
)

// List describes a list.
type List struct {
	// Name is what findings and the console call it: letters, digits and "-".
	Name string `toml:"name"`
	// Zone is where it is asked, "bl.example.org"; "{key}" in it is replaced by Key, which is never shown.
	Zone string `toml:"zone"`
	Key  string `toml:"access_key"`
	// Kinds are what it is asked about: "client" (its address), "helo", "sender" (the reverse-path's domain), "from" (the
	// From field's domain), "uri" (registered domains and addresses of links), "hash" (mail addresses, hashed).
	Kinds []string `toml:"kinds"`
	// Allow makes it an allow list.
	Allow bool `toml:"allow"`
	// Weight is the score of an answer in 127.0.0.0/8 that Codes do not name; with Codes and no Weight others are
	// ignored.
	Weight float64 `toml:"weight"`
	// Codes are what its answers mean: "127.0.0.2", "127.0.0.0/28", "127.0.*.3", or "&8" for a bit of the last octet.
	Codes map[string]Code `toml:"codes"`
	// Refused are answers that mean that it does not want to be asked by us. 127.0.0.1 (unless Codes name it),
	// 127.255.255.0/24 and all outside 127.0.0.0/8 are so for every list.
	Refused []string `toml:"refused"`
	// Hash is "sha1" or "md5", Canonical hashes addresses without tags, those of Gmail without dots.
	Hash      string `toml:"hash"`
	Canonical bool   `toml:"canonical"`
	// IPv4Only keeps IPv6 clients from it.
	IPv4Only bool `toml:"ipv4_only"`
	// NoProbe is for lists without the test entries of RFC 5782 section 5; a dead list is then not noticed.
	NoProbe bool `toml:"no_probe"`
	// MuteAfter is how many questions in a row may stay without answer before it is left alone for 5 minutes; 0 is 5.
	MuteAfter int `toml:"mute_after"`

	own bool
	// names keeps addresses from a list that knows domains only, shippedCodes keep their order.
	names        bool
	shippedCodes []code
	testPoint    string
}

// Code is what one answer means.
type Code struct {
	// Label names it, Weight is its score.
	Label  string  `toml:"label"`
	Weight float64 `toml:"weight"`
}

// kind is what a list is asked about.
type kind uint8

const (
	kindClient kind = 1 << iota
	kindHelo
	kindSender
	kindFrom
	kindURI
	kindHash
	allKinds = kindClient | kindHelo | kindSender | kindFrom | kindURI | kindHash
)

func (k kind) String() string {
	return [...]string{"client", "helo", "sender", "from", "uri", "hash"}[bits.TrailingZeros8(uint8(k))%6]
}

func kindNamed(name string) (kind, bool) {
	for k := kindClient; k <= kindHash; k <<= 1 {
		if k.String() == name {
			return k, true
		}
	}
	return 0, false
}

// pattern matches an answer: those bits of the mask must be those of the value, or for bits at least one must be set.
type pattern struct {
	mask, value uint32
	bit         bool
}

func (p pattern) matches(ip uint32) bool {
	if p.bit {
		return ip&p.mask != 0
	}
	return ip&p.mask == p.value
}

// code is one answer of a list.
type code struct {
	pattern
	symbol string
	label  string
	weight float64
	// kinds are those it counts for: a site that was broken into still sends honest mail.
	kinds kind
}

// list is one that is in use.
type list struct {
	name      string
	zone      string
	kinds     kind
	allow     bool
	own       bool
	weight    float64
	codes     []code
	refused   []pattern
	md5       bool
	canonical bool
	ipv4Only  bool
	names     bool
	noProbe   bool
	testPoint string
	muteAfter int

	env     filters.Env
	timeout time.Duration
	health  health
}

func (d List) read() (*list, error) {
	l := &list{
		name: d.Name, allow: d.Allow, own: d.own, weight: d.Weight, md5: d.Hash == "md5", canonical: d.Canonical,
		ipv4Only: d.IPv4Only, names: d.names, noProbe: d.NoProbe, testPoint: d.testPoint, codes: d.shippedCodes,
		muteAfter: cmp.Or(d.MuteAfter, 5),
	}
	if !validName(d.Name) {
		return nil, errors.New("name: give it one of letters, digits and -, 40 at most")
	}
	if strings.Contains(d.Zone, "{key}") && !isToken(d.Key) {
		return nil, errors.New("its zone has a {key}: set access_key to the one you were given")
	}
	l.zone = strings.ToLower(strings.TrimSuffix(strings.ReplaceAll(d.Zone, "{key}", d.Key), "."))
	if !mail.ValidDomain(l.zone) || !strings.Contains(l.zone, ".") || len(l.zone) > 120 {
		return nil, fmt.Errorf("zone = %q: set the domain that is asked, as in \"bl.example.org\"", d.Zone)
	}

	if err := l.readKinds(d.Kinds); err != nil {
		return nil, err
	}
	if d.Hash != "" && d.Hash != "sha1" && d.Hash != "md5" {
		return nil, fmt.Errorf("hash = %q: set \"sha1\" or \"md5\"", d.Hash)
	}
	if l.muteAfter < 1 || l.muteAfter > 1000 {
		return nil, fmt.Errorf("mute_after = %d: set it between 1 and 1000", l.muteAfter)
	}

	return l, l.readCodes(d)
}

// readKinds takes what the list is asked about.
func (l *list) readKinds(names []string) error {
	for _, name := range names {
		k, ok := kindNamed(name)
		if !ok {
			return fmt.Errorf("kinds: %q is none of client, helo, sender, from, uri and hash", name)
		}
		l.kinds |= k
	}

	if l.kinds == 0 {
		return errors.New("kinds: say what it is asked about: client, helo, sender, from, uri or hash")
	}
	if l.kinds&kindHash != 0 && l.kinds != kindHash {
		return errors.New("kinds: a list of hashes knows nothing else: set kinds = [\"hash\"]")
	}

	return nil
}

func (l *list) readCodes(d List) error {
	if l.own && (len(d.Codes) > maxCodes || len(d.Refused) > maxCodes) {
		return fmt.Errorf("codes: %d are the most", maxCodes)
	}
	if l.own && d.Weight == 0 && len(d.Codes) == 0 {
		return errors.New("weight: set the score of a hit, or codes")
	}
	if err := checkWeight(d.Weight); err != nil {
		return err
	}

	for text, c := range d.Codes {
		p, err := readPattern(text)
		if err != nil {
			return fmt.Errorf("codes: %w", err)
		}
		if c.Weight == 0 {
			return fmt.Errorf("codes: %s: set its weight", text)
		}
		if err := checkWeight(c.Weight); err != nil {
			return err
		}
		l.codes = append(l.codes, code{pattern: p, label: filters.Printable(c.Label), weight: c.Weight, kinds: allKinds})
	}
	if d.Codes != nil { // maps have no order
		slices.SortFunc(l.codes, exactFirst)
	}

	for _, text := range d.Refused {
		p, err := readPattern(text)
		if err != nil {
			return fmt.Errorf("refused: %w", err)
		}
		l.refused = append(l.refused, p)
	}

	return nil
}

func checkWeight(w float64) error {
	if w >= 0 && w <= ownScore {
		return nil
	}

	return fmt.Errorf("weight = %g: set it between 0 and %d; allow = true makes it count the other way", w, int(ownScore))
}

// exactFirst puts the code that says more of an answer in front.
func exactFirst(a, b code) int {
	if c := bits.OnesCount32(b.mask) - bits.OnesCount32(a.mask); c != 0 && !a.bit && !b.bit {
		return c
	}

	return strings.Compare(a.key(), b.key())
}

func (c code) key() string { return fmt.Sprintf("%v %08x %08x", c.bit, c.mask, c.value) }

// readPattern reads an address, a network, an address with * for octets, or & with a number.
func readPattern(text string) (pattern, error) {
	bad := fmt.Errorf("%q is none of \"127.0.0.2\", \"127.0.0.0/28\", \"127.0.*.3\" and \"&8\"", text)
	if number, ok := strings.CutPrefix(text, "&"); ok {
		n, err := strconv.ParseUint(number, 10, 8)
		if err != nil || n == 0 {
			return pattern{}, bad
		}
		return pattern{mask: uint32(n), bit: true}, nil
	}
	if network, err := netip.ParsePrefix(text); err == nil && network.Addr().Is4() {
		mask := ^uint32(0) << (32 - network.Bits())
		return pattern{mask: mask, value: number(network.Addr()) & mask}, nil
	}
	var p pattern
	octets := strings.Split(text, ".")
	for _, o := range octets {
		p.mask, p.value = p.mask<<8, p.value<<8
		if o == "*" {
			continue
		}
		n, err := strconv.ParseUint(o, 10, 8)
		if err != nil {
			return pattern{}, bad
		}
		p.mask, p.value = p.mask|0xff, p.value|uint32(n)
	}
	if len(octets) != 4 {
		return pattern{}, bad
	}
	return p, nil
}

// number is an IPv4 address as one.
func number(ip netip.Addr) uint32 {
	b := ip.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func validName(name string) bool { return len(name) <= 40 && isToken(name) }

// isToken says whether the text can be one label of a name.
func isToken(text string) bool {
	if text == "" || len(text) > 63 {
		return false
	}
	for i := range len(text) {
		c := text[i] | 0x20
		if !(c >= 'a' && c <= 'z' || text[i] >= '0' && text[i] <= '9' || text[i] == '-') {
			return false
		}
	}
	return true
}
