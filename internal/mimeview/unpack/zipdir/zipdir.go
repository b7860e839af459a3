// Package zipdir reads the structure of a ZIP file in every way that an unpacker might: each end record, each central
// directory, and the local headers that no directory knows. PKWARE's APPNOTE.TXT 6.3 is meant by "APPNOTE".
package zipdir

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// Entry is one file of the archive.
type Entry struct {
	Names   []string // central name, local name, Unicode path; each once
	Renamed bool     // central and local name differ
	Odd     string   // what else the two headers differ on: readers that go by the one or the other get different files
	Hidden  bool     // in no central directory
	Method  uint16   // APPNOTE 4.4.5; 99 stands for AES, see AES
	Flags   uint16   // APPNOTE 4.4.4
	CRC     uint32
	Time    uint16 // DOS time, part of the password check
	Packed  int64  // octets of Content that belong to it by the directories, the longer if they differ
	Sizes   []int64
	Mode    uint32 // Unix mode, 0 if unknown
	AES     AES
	Start   int64  // of the content in the file
	Data    []byte // from the content's start to the file's end: streams end by themselves
	Broken  string // why there is no content
	header  int64  // of the local header
}

// AES is WinZip's encryption, from the extra field 0x9901.
type AES struct {
	Version, Strength byte
	Method            uint16 // of the compression
}

// Directory is what is known of the whole file.
type Directory struct {
	Entries     []Entry
	EndRecords  int  // that are not part of an entry
	Prefix      bool // something stands before the first local header
	Overlapping bool
	LyingSize   bool // central and local sizes differ
	Truncated   bool // more entries than the limit
	Broken      string
}

const (
	sigLocal   = "PK\x03\x04"
	sigCentral = "PK\x01\x02"
	sigEnd     = "PK\x05\x06"
	maxEnds    = 16
)

// reader holds what has been found so far.
type reader struct {
	b      []byte
	limit  int
	dir    Directory
	known  map[int64]bool // local headers that a directory names
	read   map[int64]bool // central directories that were read
	ranges []span         // content of entries, sorted by start, not overlapping
}

type span struct{ start, end int64 }

// Read finds at most limit entries. It never fails: what is broken is said in the Directory.
func Read(b []byte, limit int) Directory {
	r := &reader{b: b, limit: limit, known: map[int64]bool{}, read: map[int64]bool{}}
	ends := r.endRecords()
	// the last record first: it is the one that most programs take
	for i := len(ends) - 1; i >= 0; i-- {
		if r.inside(int64(ends[i])) {
			continue
		}
		if r.dir.EndRecords++; r.dir.EndRecords > maxEnds {
			r.dir.Broken = "too many end records"
			break
		}
		r.directory(ends[i])
		r.settle()
	}
	if len(ends) == 0 {
		r.dir.Broken = "no central directory"
	}
	r.hidden()
	if i := bytes.Index(b, []byte(sigLocal)); i > 0 && string(b[:min(4, len(b))]) != "PK00" && string(b[:min(4, len(b))]) != "PK\x07\x08" {
		r.dir.Prefix = true
	}
	return r.dir
}

// endRecords finds the place of every end of central directory record. Over a thousand, the first and last count.
func (r *reader) endRecords() []int {
	var found []int
	for at := 0; ; {
		i := bytes.Index(r.b[at:], []byte(sigEnd))
		if i < 0 {
			return found
		}
		found = append(found, at+i)
		if len(found) > 1000 {
			found = slices.Delete(found, 500, 501)
		}
		at += i + 4
	}
}

func le16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
func le64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// directory reads the entries that one end record leads to. APPNOTE 4.3.16
func (r *reader) directory(end int) {
	rec := r.b[end:]
	if len(rec) < 22 {
		r.dir.Broken = "end record cut short"
		return
	}
	d := endRecord{end, uint64(le16(rec[10:])), uint64(le32(rec[12:])), uint64(le32(rec[16:]))}
	r.zip64(&d)

	start, base := int64(-1), int64(0)
	if d.size <= uint64(d.end) {
		// what stands before the archive moves all its offsets; the directory ends where its end record begins
		if at := int64(d.end) - int64(d.size); r.isCentral(at) {
			start = at
			base = at - int64(min(d.offset, 1<<62))
		}
	}
	if start < 0 && d.offset < uint64(len(r.b)) && r.isCentral(int64(d.offset)) {
		start = int64(d.offset)
	}
	if start < 0 {
		if d.count > 0 {
			r.dir.Broken = "no directory where the end record says"
		}
		return
	}

	if !r.read[start] {
		r.read[start] = true
		r.central(start, base)
	}
}

// endRecord is what an end record says, and where it begins.
type endRecord struct {
	end                 int
	count, size, offset uint64
}

// zip64 reads the larger end record, which is found by a locator before the usual one: APPNOTE 4.3.14, 4.3.15.
func (r *reader) zip64(d *endRecord) {
	if d.end < 20 || string(r.b[d.end-20:d.end-16]) != "PK\x06\x07" {
		return
	}

	is := func(at uint64) bool {
		return len(r.b) >= 56 && at <= uint64(len(r.b))-56 && string(r.b[at:at+4]) == "PK\x06\x06"
	}
	at := le64(r.b[d.end-12:])
	if !is(at) && d.end >= 76 { // right before, whatever the locator says
		at = uint64(d.end) - 76
	}
	if !is(at) {
		r.dir.Broken = "broken ZIP64 locator"
		return
	}
	*d = endRecord{int(at), le64(r.b[at+32:]), le64(r.b[at+40:]), le64(r.b[at+48:])}
}

func (r *reader) isCentral(at int64) bool {
	return at >= 0 && at+46 <= int64(len(r.b)) && string(r.b[at:at+4]) == sigCentral
}

// central reads directory entries as long as there are any, whatever their number was said to be. APPNOTE 4.3.12
func (r *reader) central(at, base int64) {
	for r.isCentral(at) {
		if len(r.dir.Entries) >= r.limit {
			r.dir.Truncated = true
			return
		}
		c := r.b[at:]
		nameLen, extraLen, commentLen := int64(le16(c[28:])), int64(le16(c[30:])), int64(le16(c[32:]))
		next := at + 46 + nameLen + extraLen + commentLen
		if at+46+nameLen+extraLen > int64(len(r.b)) {
			r.dir.Broken = "directory cut short"
			return
		}
		e := Entry{Flags: le16(c[8:]), Method: le16(c[10:]), Time: le16(c[12:]), CRC: le32(c[16:])}
		packed, size, header := uint64(le32(c[20:])), uint64(le32(c[24:])), uint64(le32(c[42:]))
		if c[5] == 3 || c[5] == 19 { // made on Unix or macOS: the upper half is the mode
			e.Mode = le32(c[38:]) >> 16
		}
		name := c[46 : 46+nameLen]
		e.addName(name)
		e.extra(c[46+nameLen:46+nameLen+extraLen], &size, &packed, &header)
		e.Sizes = append(e.Sizes, toInt(size))
		e.Packed = toInt(packed)
		e.header = toInt(header)
		e.header += base
		if !r.isLocal(e.header) && r.isLocal(toInt(header)) {
			e.header = toInt(header)
		}
		r.local(&e, name)
		r.dir.Entries = append(r.dir.Entries, e)
		at = next
	}
}

func toInt(v uint64) int64 { return int64(min(v, 1<<62)) }

func (r *reader) isLocal(at int64) bool {
	return at >= 0 && at+30 <= int64(len(r.b)) && string(r.b[at:at+4]) == sigLocal
}

// compare notes where the local header contradicts the directory.
func (e *Entry) compare(flags, method uint16) {
	switch {
	case method != e.Method:
		e.Odd = fmt.Sprintf("method %d in the directory, %d in the local header", e.Method, method)
	case (flags^e.Flags)&1 != 0:
		e.Odd = "encrypted by one header only"
	}
}

// hasSizes says whether the directory gives the same sizes.
func (e *Entry) hasSizes(packed, size uint64) bool {
	return toInt(packed) == e.Packed && toInt(size) == e.Sizes[0]
}

// local adds what the local header says. name is the central one, nil if there is none. APPNOTE 4.3.7
func (r *reader) local(e *Entry, name []byte) {
	if !r.isLocal(e.header) {
		e.Broken = "no local header"
		return
	}
	if r.known[e.header] && name != nil {
		r.dir.Overlapping = true // two directory entries for one content
	}
	r.known[e.header] = true
	l := r.b[e.header:]
	nameLen, extraLen := int64(le16(l[26:])), int64(le16(l[28:]))
	e.Start = e.header + 30 + nameLen + extraLen
	if e.Start > int64(len(r.b)) {
		e.Broken = "local header cut short"
		e.Start = 0
		return
	}
	localName := l[30 : 30+nameLen]
	e.Renamed = name != nil && !bytes.Equal(name, localName)
	e.addName(localName)
	packed, size, none := uint64(le32(l[18:])), uint64(le32(l[22:])), uint64(0)
	flags, method := le16(l[6:]), le16(l[8:])
	if name == nil {
		e.Flags, e.Method, e.Time, e.CRC = flags, method, le16(l[10:]), le32(l[14:])
	}
	e.compare(flags, method)
	e.extra(l[30+nameLen:30+nameLen+extraLen], &size, &packed, &none)
	e.Flags |= flags & 1 // encrypted for one of the readers
	if flags&8 == 0 {    // no data descriptor: the sizes stand here. APPNOTE 4.4.4 bit 3
		r.dir.LyingSize = r.dir.LyingSize || name != nil && !e.hasSizes(packed, size)
		e.Sizes = append(e.Sizes, toInt(size))
		e.Packed = max(e.Packed, toInt(packed))
	}
	e.Data = r.b[e.Start:]
	e.Packed = min(e.Packed, int64(len(e.Data)))
}

// zip64 reads the numbers that did not fit into 32 bits. APPNOTE 4.5.3
func zip64(f []byte, values ...*uint64) {
	for _, v := range values {
		if *v == 1<<32-1 && len(f) >= 8 {
			*v, f = le64(f), f[8:]
		}
	}
}

// extra reads the fields that change sizes, name or method. APPNOTE 4.5.3, 4.6.9, and WinZip's AE-1, AE-2
func (e *Entry) extra(b []byte, size, packed, header *uint64) {
	for len(b) >= 4 {
		id, n := le16(b), int(le16(b[2:]))
		if n > len(b)-4 {
			return
		}
		f := b[4 : 4+n]
		b = b[4+n:]
		switch {
		case id == 1:
			zip64(f, size, packed, header)
		case id == 0x7075 && n > 5:
			e.addName(f[5:])
		case id == 0x9901 && n >= 7:
			e.AES = AES{Version: f[0], Strength: f[4], Method: le16(f[5:])}
		}
	}
}

// addName keeps a name once. Without the UTF-8 flag it is code page 437 by APPNOTE Appendix D; many writers put UTF-8
// there all the same.
func (e *Entry) addName(raw []byte) {
	name := string(raw)
	if !utf8.ValidString(name) {
		if s, err := charmap.CodePage437.NewDecoder().String(name); err == nil {
			name = s
		}
	}
	if !slices.Contains(e.Names, name) {
		e.Names = append(e.Names, name)
	}
}

// settle sorts the content of all entries known so far into ranges, and finds those that overlap.
func (r *reader) settle() {
	r.ranges = r.ranges[:0]
	for i := range r.dir.Entries {
		e := &r.dir.Entries[i]
		if e.Broken == "" {
			r.ranges = append(r.ranges, span{e.header, e.Start + e.Packed})
		}
	}
	slices.SortFunc(r.ranges, func(a, b span) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end)) })
	merged := r.ranges[:0]
	for _, s := range r.ranges {
		if n := len(merged); n > 0 && s.start < merged[n-1].end {
			r.dir.Overlapping = true
			merged[n-1].end = max(merged[n-1].end, s.end)
			continue
		}
		merged = append(merged, s)
	}
	r.ranges = merged
}

// inside says whether a place belongs to the content of a known entry, such as an archive stored in the archive.
func (r *reader) inside(at int64) bool {
	_, ok := r.within(at)
	return ok
}

func (r *reader) within(at int64) (span, bool) {
	i, found := slices.BinarySearchFunc(r.ranges, at, func(s span, at int64) int { return cmp.Compare(s.start, at) })
	if found {
		return r.ranges[i], true
	}
	if i > 0 && at < r.ranges[i-1].end {
		return r.ranges[i-1], true
	}
	return span{}, false
}

// hidden finds local headers that no directory knows: programs that read from the front unpack them.
func (r *reader) hidden() {
	for at := int64(0); at < int64(len(r.b)); {
		i := bytes.Index(r.b[at:], []byte(sigLocal))
		if i < 0 {
			return
		}
		at += int64(i)
		if s, ok := r.within(at); ok {
			at = max(s.end, at+4)
			continue
		}
		if len(r.dir.Entries) >= r.limit {
			r.dir.Truncated = true
			return
		}
		e := Entry{Hidden: true, header: at}
		at += 4
		if !r.isLocal(e.header) || !plausible(r.b[e.header:]) {
			continue
		}
		r.local(&e, nil)
		if e.Broken == "" {
			r.dir.Entries = append(r.dir.Entries, e)
			at = max(at, e.Start+e.Packed)
		}
	}
}

// plausible: four octets alone stand in many a picture; a header has a method that exists and a name.
func plausible(l []byte) bool {
	n := int(le16(l[26:]))
	return le16(l[8:]) <= 99 && n > 0 && n <= len(l)-30 && !strings.ContainsRune(string(l[30:30+min(n, 8)]), 0)
}
