package lures

// prefixes4 tells of most words at one glance that no phrase begins with them: by a bit for each four octets that one begins
// with, and for each two of those that are shorter. Different octets may share a bit; the trie knows.
type prefixes4 struct {
	four [1 << 10]uint64
	two  [1 << 10]uint64
}

func newPrefixes(all []phrase) *prefixes4 {
	p := &prefixes4{}
	for _, one := range all {
		text := []byte(one.text)
		if len(text) == 3 && !one.out.stem && text[2] < 0x80 {
			text = append(text, ' ')
		}
		switch {
		case len(text) >= 4:
			set(&p.four, hash4(text))
		case len(text) >= 2:
			set(&p.two, hash2(text))
		default: // whatever follows it
			for c := range 256 {
				set(&p.two, hash2([]byte{text[0], byte(c)}))
			}
		}
	}

	return p
}

// may says whether a phrase may begin where the text does.
func (p *prefixes4) may(text []byte) bool {
	return len(text) < 4 || has(&p.four, hash4(text)) || has(&p.two, hash2(text))
}

func hash4(text []byte) uint32 {
	const odd = 0x9e3779b1 // 2^32 by the golden ratio
	word := uint32(text[0]) | uint32(text[1])<<8 | uint32(text[2])<<16 | uint32(text[3])<<24

	return word * odd >> 16
}

func hash2(text []byte) uint32 { return uint32(text[0])<<8 | uint32(text[1]) }

func set(bits *[1 << 10]uint64, at uint32) { bits[at>>6&0x3ff] |= 1 << (at & 63) }

func has(bits *[1 << 10]uint64, at uint32) bool { return bits[at>>6&0x3ff]>>(at&63)&1 != 0 }
