package unpack

import (
	"encoding/binary"
	"errors"
	"strings"
	"unicode/utf16"
)

// inspectISO reads the directories of an ISO 9660 image, the primary ones and those of Joliet: Windows shows Joliet's
// names, other systems may show the first. ECMA-119; Joliet is a supplementary descriptor with UCS-2 names.
func inspectISO(w *walk, n *node, o *Object) func() {
	if !o.is("application/x-iso9660-image") {
		return nil
	}
	return func() {
		iso := &isoImage{w: w, n: n, seen: map[uint32]bool{}, names: map[[2]uint32]int{}}
		iso.read()
		for i := range iso.files {
			f := &iso.files[i]
			if w.stopped() {
				return
			}
			if f.content == nil && f.size > 0 {
				w.closed(n, f.names, Flag{Unscannable, "iso: outside of the image"})
				continue
			}
			w.part(n, f.names, f.content)
		}
	}
}

type isoImage struct {
	w     *walk
	n     *node
	seen  map[uint32]bool // directories
	names map[[2]uint32]int
	files []isoFile
}

type isoFile struct {
	names   []string
	size    uint32
	content []byte
}

const isoSector = 2048

// hasDescriptor says whether a volume descriptor stands at a place.
func (iso *isoImage) hasDescriptor(at int) bool {
	b := iso.n.content
	return at+isoSector <= len(b) && string(b[at+1:at+6]) == "CD001"
}

func (iso *isoImage) read() {
	b := iso.n.content
	base := 16 * isoSector
	if len(b) > 17*isoSector && !iso.hasDescriptor(base) {
		base = 17 * isoSector // some images have one sector more in front
	}
	found := false
	// ECMA-119 8: volume descriptors, one a sector, until the set terminator (255)
	for i := range 32 {
		at := base + i*isoSector
		if !iso.hasDescriptor(at) || b[at] == 255 {
			break
		}
		if b[at] != 1 && b[at] != 2 {
			continue
		}
		joliet := b[at] == 2 && string(b[at+88:at+90]) == "%/"
		root := b[at+156:] // ECMA-119 8.4.18: the root's directory record
		clear(iso.seen)
		iso.folder("", le32(root[2:]), le32(root[10:]), joliet, 0)
		found = true
	}
	if !found {
		iso.w.unscannable(iso.n.path, "iso: no volume descriptor")
	}
}

func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

var errISO = errors.New("iso: broken directory")

// folder reads one directory. A record does not cross a sector's end. ECMA-119 9.1
func (iso *isoImage) folder(dir string, sector, size uint32, joliet bool, depth int) {
	content := iso.extent(sector, size)
	if content == nil || depth > 32 || iso.seen[sector] {
		iso.w.unscannable(iso.n.path, errISO.Error())
		return
	}
	iso.seen[sector] = true
	if len(iso.files) >= iso.w.o.Entries {
		iso.w.limit("entries")
		return
	}
	for at := 0; at < len(content) && len(iso.files) < iso.w.o.Entries; {
		length := int(content[at])
		if length == 0 {
			at = (at/isoSector + 1) * isoSector
			continue
		}
		if at+length > len(content) || length < 34 || 33+int(content[at+32]) > length {
			iso.w.unscannable(iso.n.path, errISO.Error())
			return
		}
		iso.record(content[at:at+length], dir, joliet, depth)
		at += length
	}
}

// record takes one directory record: a file, or a folder with all that is in it.
func (iso *isoImage) record(rec []byte, dir string, joliet bool, depth int) {
	raw := rec[33 : 33+int(rec[32])]
	if len(raw) == 1 && raw[0] <= 1 { // the folder itself and its parent
		return
	}
	name := strings.TrimPrefix(dir+"/"+isoName(raw, joliet), "/")
	start, size := le32(rec[2:]), le32(rec[10:])
	if rec[25]&2 != 0 {
		iso.folder(name, start, size, joliet, depth+1)
		return
	}
	iso.file(name, start, size)
}

// file notes a file; one that both trees know gets both names.
func (iso *isoImage) file(name string, start, size uint32) {
	key := [2]uint32{start, size}
	if i, ok := iso.names[key]; ok && size > 0 {
		iso.files[i].names = append(iso.files[i].names, name)
		return
	}
	iso.names[key] = len(iso.files)
	iso.files = append(iso.files, isoFile{[]string{name}, size, iso.extent(start, size)})
}

func (iso *isoImage) extent(sector, size uint32) []byte {
	from, to := int64(sector)*isoSector, int64(sector)*isoSector+int64(size)
	if to > int64(len(iso.n.content)) || size == 0 {
		return nil
	}
	return iso.n.content[from:to]
}

func isoName(raw []byte, joliet bool) string {
	name := string(raw)
	if joliet {
		units := make([]uint16, len(raw)/2)
		for i := range units {
			units[i] = binary.BigEndian.Uint16(raw[2*i:])
		}
		name = string(utf16.Decode(units))
	}
	name, _, _ = strings.Cut(name, ";")
	return strings.TrimSuffix(name, ".")
}
