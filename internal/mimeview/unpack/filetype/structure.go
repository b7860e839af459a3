package filetype

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"io"
	"strings"
)

// What stands behind a magic number. Two or four octets come about by chance: in each message with a signature there
// are some hundred random ones. A type needs the structure that its reader needs.

func le16(b []byte) int   { return int(binary.LittleEndian.Uint16(b)) }
func le32(b []byte) int64 { return int64(binary.LittleEndian.Uint32(b)) }

func notText(b []byte) bool { return !isText(b) }

// isMZ: a program that Windows or DOS would load. Windows goes by the header that the octets at 0x3c point to, DOS by
// its own.
func isMZ(b []byte) bool {
	if len(b) < 28 {
		return false
	}
	if len(b) >= 64 {
		at := le32(b[0x3c:])
		if at+4 <= int64(len(b)) {
			switch string(b[at : at+2]) {
			case "PE":
				return b[at+2] == 0 && b[at+3] == 0
			case "NE", "LE", "LX":
				return true
			}
		}
	}
	return isDOS(b) || isStub(b)
}

// isDOS: the length that the header gives in pages of 512 octets is there and is most of the file, the header itself and
// its relocations are within it. An overlay may follow; it is no longer than ten times the program.
func isDOS(b []byte) bool {
	last, pages, relocations, paragraphs, table := le16(b[2:]), le16(b[4:]), le16(b[6:]), le16(b[8:]), le16(b[24:])
	if last >= 512 || pages == 0 || paragraphs < 2 {
		return false
	}
	size := pages * 512
	if last > 0 {
		size -= 512 - last
	}
	header := paragraphs * 16
	return header < size && size <= len(b) && len(b) <= 10*size && (relocations == 0 || table >= 28 && table+4*relocations <= header)
}

// isStub: the header that linkers write in front of Windows programs, of which the rest may be cut off.
func isStub(b []byte) bool {
	return len(b) >= 64 && le16(b[2:]) <= 0x90 && le16(b[8:]) == 4 && le16(b[12:]) == 0xffff && le16(b[24:]) == 0x40 && le32(b[0x3c:]) < 4096
}

// isGzip: RFC 1952 section 2.3.1: deflate, no reserved flag, and what follows the header unpacks.
func isGzip(b []byte) bool {
	if len(b) < 18 || b[2] != 8 || b[3]&0xe0 != 0 {
		return false
	}
	if b[3]&0x1e != 0 { // fields of other lengths follow
		return true
	}
	one := make([]byte, 1)
	_, err := io.ReadFull(flate.NewReader(bytes.NewReader(head(b[10:], 4096))), one)
	return err == nil || err == io.EOF || err == io.ErrUnexpectedEOF
}

// isCompress: 9 to 16 bits, no reserved flag, and the first codes are those of a table that only begins to fill.
func isCompress(b []byte) bool {
	if len(b) < 5 {
		return false
	}
	bits, reserved, blockMode := b[2]&0x1f, b[2]&0x60, b[2]>>7 // the latter has a code that clears the table
	if reserved != 0 || bits < 9 || bits > 16 {
		return false
	}
	next := 255 + int(blockMode)
	for i := range min(32, (len(b)-3)*8/9) {
		at := i * 9
		code := (int(b[3+at/8]) | int(b[4+at/8])<<8) >> (at % 8) & 0x1ff
		if code > next || i == 0 && code > 255 {
			return code == 256 && i > 0
		}
		next++
	}
	return true
}

// isARJ: the header's own sum is right.
func isARJ(b []byte) bool {
	if len(b) < 12 {
		return false
	}
	size := le16(b[2:])
	return size >= 30 && size <= 2600 && len(b) >= 8+size && int64(crc32.ChecksumIEEE(b[4:4+size])) == le32(b[4+size:])
}

// isLZH: a method that exists, a header of level 0 to 3.
func isLZH(b []byte) bool {
	return len(b) > 21 && b[6] == '-' && strings.IndexByte("0123456789dsx", b[5]) >= 0 && b[20] <= 3
}

// isCpioASCII: nothing but digits in the whole of the header.
func isCpioASCII(b []byte) bool {
	size, digits := 110, "0123456789abcdefABCDEF"
	if b[5] == '7' {
		size, digits = 76, "01234567"
	}
	return len(b) >= size && strings.Trim(string(b[:size]), digits) == ""
}

// isCpioBinary: a kind of file that exists, a name that ends where its length says.
func isCpioBinary(b []byte) bool {
	if len(b) < 28 {
		return false
	}
	name := le16(b[20:])
	kind := le16(b[6:]) >> 12
	return name >= 2 && name <= 4096 && 26+name <= len(b) && bytes.IndexByte(b[26:26+name], 0) == name-1 && strings.IndexByte("\x01\x02\x04\x06\x08\x0a\x0c", byte(kind)) >= 0
}

// isTar: the header's sum is right, counted with blanks in its own place.
func isTar(b []byte) bool {
	sum, want := 8*int(' '), 0
	for i, c := range b[:512:512] {
		if i < 148 || i >= 156 {
			sum += int(c)
		}
	}
	for _, c := range bytes.Trim(b[148:156], " \x00") {
		if c < '0' || c > '7' {
			return false
		}
		want = want<<3 | int(c-'0')
	}
	return sum == want
}

// isBootSector: a jump, and the geometry of FAT, or the name of NTFS or exFAT, behind it.
func isBootSector(b []byte) bool {
	if b[0] != 0xeb && b[0] != 0xe9 {
		return false
	}
	if oem := string(b[3:11]); oem == "NTFS    " || oem == "EXFAT   " {
		return true
	}
	sector, cluster, fats := le16(b[11:]), int(b[13]), b[16]
	goodSector := sector >= 512 && sector <= 4096 && isPowerOfTwo(sector)
	return goodSector && isPowerOfTwo(cluster) && (fats == 1 || fats == 2)
}

func isPowerOfTwo(n int) bool { return n > 0 && n&(n-1) == 0 }
