package filetype

import (
	"encoding/binary"
)

type magic struct {
	offset int
	bytes  string
	Type
	also func([]byte) bool // more to ask, nil for nothing
}

func (m *magic) matches(b []byte) bool {
	return len(b) >= m.offset+len(m.bytes) && string(b[m.offset:m.offset+len(m.bytes)]) == m.bytes && (m.also == nil || m.also(b))
}

var (
	typePDF  = Type{"application/pdf", ".pdf", PDF}
	typeHTML = Type{"text/html", ".html", HTML}
	typeZIP  = Type{"application/zip", ".zip", Archive}
	typeRAR  = Type{"application/vnd.rar", ".rar", Archive}
	type7z   = Type{"application/x-7z-compressed", ".7z", Archive}
	typeCAB  = Type{"application/vnd.ms-cab-compressed", ".cab", Archive}
	typeTar  = Type{"application/x-tar", ".tar", Archive}
	typeOLE  = Type{"application/x-ole-storage", ".ole", Office}
)

const typeOldLZH = "application/x-compress-lzh"

// magics: the first octets of formats, from the formats' own specifications. Longer and rarer ones first.
var magics = []magic{
	{0, "MZ", Type{"application/vnd.microsoft.portable-executable", ".exe", Executable}, isMZ},
	{0, "\x7fELF", Type{"application/x-elf", ".elf", Executable}, func(b []byte) bool { return len(b) > 4 && (b[4] == 1 || b[4] == 2) }},
	{0, "\xfe\xed\xfa\xce", Type{"application/x-mach-binary", "", Executable}, nil},
	{0, "\xfe\xed\xfa\xcf", Type{"application/x-mach-binary", "", Executable}, nil},
	{0, "\xce\xfa\xed\xfe", Type{"application/x-mach-binary", "", Executable}, nil},
	{0, "\xcf\xfa\xed\xfe", Type{"application/x-mach-binary", "", Executable}, nil},
	{0, "\xca\xfe\xba\xbe", Type{"application/java-vm", ".class", Executable}, isJavaClass},
	{0, "\xca\xfe\xba\xbe", Type{"application/x-mach-binary", "", Executable}, nil},
	{0, "dex\n03", Type{"application/vnd.android.dex", ".dex", Executable}, nil},
	{0, "\x00asm\x01\x00\x00\x00", Type{"application/wasm", ".wasm", Executable}, nil},
	{0, "L\x00\x00\x00\x01\x14\x02\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46", Type{"application/x-ms-shortcut", ".lnk", Shortcut}, nil},
	{0, "ITSF", Type{"application/vnd.ms-htmlhelp", ".chm", Executable}, notText},
	{0, "?_\x03\x00", Type{"application/winhlp", ".hlp", Executable}, nil},
	{0, "\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3", Type{"application/onenote", ".one", Office}, nil},
	{0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", typeOLE, nil},
	{0, "PK\x03\x04", typeZIP, nil},
	{0, "PK\x05\x06", typeZIP, nil},
	{0, "PK\x07\x08PK\x03\x04", typeZIP, nil},
	{0, "PK00PK\x03\x04", typeZIP, nil},
	{0, "Rar!\x1a\x07", typeRAR, nil},
	{0, "7z\xbc\xaf\x27\x1c", type7z, nil},
	{0, "\x1f\x8b", Type{"application/gzip", ".gz", Archive}, isGzip},
	{0, "\x1f\x9d", Type{"application/x-compress", ".z", Archive}, isCompress},
	{0, "\x1f\xa0", Type{typeOldLZH, ".z", Archive}, nil},
	{0, "BZh", Type{"application/x-bzip2", ".bz2", Archive}, isBzip2},
	{0, "\xfd7zXZ\x00", Type{"application/x-xz", ".xz", Archive}, nil},
	{0, "\x28\xb5\x2f\xfd", Type{"application/zstd", ".zst", Archive}, nil},
	{0, "\x04\x22\x4d\x18", Type{"application/x-lz4", ".lz4", Archive}, nil},
	{0, "LZIP\x01", Type{"application/x-lzip", ".lz", Archive}, notText},
	{0, "\x5d\x00\x00", Type{"application/x-lzma", ".lzma", Archive}, isLZMA},
	{0, "MSCF", typeCAB, notText},
	{0, "\x60\xea", Type{"application/x-arj", ".arj", Archive}, isARJ},
	{7, "**ACE**", Type{"application/x-ace-compressed", ".ace", Archive}, notText},
	{2, "-lh", Type{"application/x-lzh-compressed", ".lzh", Archive}, isLZH},
	{2, "-lz", Type{"application/x-lzh-compressed", ".lzh", Archive}, isLZH},
	{0, "070701", Type{"application/x-cpio", ".cpio", Archive}, isCpioASCII},
	{0, "070702", Type{"application/x-cpio", ".cpio", Archive}, isCpioASCII},
	{0, "070707", Type{"application/x-cpio", ".cpio", Archive}, isCpioASCII},
	{0, "\xc7\x71", Type{"application/x-cpio", ".cpio", Archive}, isCpioBinary},
	{0, "SZDD\x88\xf0\x27\x33", Type{"application/x-ms-compress-szdd", ".ex_", Archive}, func(b []byte) bool { return len(b) > 14 && b[8] == 'A' }},
	{0, "KWAJ\x88\xf0\x27\xd1", Type{"application/x-ms-compress-kwaj", "", Archive}, nil},
	{0, "\x7a\x1a\x20\x10", Type{"application/vnd.symbian.install", ".sis", Executable}, nil},
	{8, "\x19\x04\x00\x10", Type{"application/vnd.symbian.install", ".sis", Executable}, notText},
	{0, "!<arch>\n", Type{"application/x-archive", ".a", Archive}, nil},
	{0, "ZOO ", Type{"application/x-zoo", ".zoo", Archive}, notText},
	{0, "xar!", Type{"application/x-xar", ".pkg", Archive}, notText},
	{0, "\xed\xab\xee\xdb", Type{"application/x-rpm", ".rpm", Archive}, nil},
	{0, "MSWIM\x00\x00\x00", Type{"application/x-ms-wim", ".wim", Disk}, nil},
	{0, "conectix", Type{"application/x-vhd", ".vhd", Disk}, notText},
	{0, "vhdxfile", Type{"application/x-vhdx", ".vhdx", Disk}, notText},
	{0, "KDMV", Type{"application/x-vmdk", ".vmdk", Disk}, notText},
	{0, "QFI\xfb", Type{"application/x-qemu-disk", ".qcow2", Disk}, nil},
	{0, "ActiveMime", Type{"application/x-mso", ".mso", Office}, nil},
	{0, "%PDF-", typePDF, nil},
	{0, "{\\rt", Type{"application/rtf", ".rtf", Office}, nil},
	{0, "\x89PNG\r\n\x1a\n", Type{"image/png", ".png", Image}, nil},
	{0, "\xff\xd8\xff", Type{"image/jpeg", ".jpg", Image}, nil},
	{0, "GIF87a", Type{"image/gif", ".gif", Image}, nil},
	{0, "GIF89a", Type{"image/gif", ".gif", Image}, nil},
	{0, "BM", Type{"image/bmp", ".bmp", Image}, func(b []byte) bool { return len(b) > 18 && b[6]|b[7]|b[8]|b[9] == 0 }},
	{0, "II*\x00", Type{"image/tiff", ".tif", Image}, nil},
	{0, "MM\x00*", Type{"image/tiff", ".tif", Image}, nil},
	{8, "WEBP", Type{"image/webp", ".webp", Image}, func(b []byte) bool { return string(b[:4]) == "RIFF" }},
	{0, "\x00\x00\x01\x00", Type{"image/vnd.microsoft.icon", ".ico", Image}, func(b []byte) bool { return len(b) > 9 && b[9] == 0 }},
	{0, "\xd7\xcd\xc6\x9a", Type{"image/wmf", ".wmf", Image}, nil},
	{0, "\x78\x9f\x3e\x22", Type{"application/vnd.ms-tnef", ".dat", Mail}, nil},
	{0, "!BDN", Type{"application/vnd.ms-outlook-pst", ".pst", Mail}, notText},
	{0, "\x00\x01\x00\x00Standard ", Type{"application/x-msaccess", ".mdb", Office}, nil},
	{0, "\xdb\xa5-\x00", Type{"application/msword", ".doc", Office}, nil}, // Word 2, before OLE
}

// isJavaClass tells a class (a version below the hundreds) from a fat Mach-O (a count of a few architectures).
func isJavaClass(b []byte) bool {
	return len(b) >= 8 && binary.BigEndian.Uint16(b[6:]) >= 45
}

func isBzip2(b []byte) bool {
	return len(b) >= 10 && b[3] >= '1' && b[3] <= '9' && (string(b[4:10]) == "1AY&SY" || string(b[4:10]) == "\x17\x72\x45\x38\x50\x90")
}

// isLZMA: properties 0x5d, a dictionary that is a power of two, a size that is unknown or below 2^40.
func isLZMA(b []byte) bool {
	if len(b) < 14 {
		return false
	}
	dict := binary.LittleEndian.Uint32(b[1:])
	size := binary.LittleEndian.Uint64(b[5:])
	return dict&(dict-1) == 0 && dict >= 4096 && (size == 1<<64-1 || size < 1<<40) && b[13] == 0
}

// isCAB: the size in the header fits, the two reserved fields are zero, the version is 1.3. [MS-CAB] 2.1
func isCAB(b []byte) bool {
	return len(b) > 36 && int64(binary.LittleEndian.Uint32(b[8:])) <= int64(len(b)) && binary.LittleEndian.Uint32(b[12:]) == 0 && b[24] == 3 && b[25] == 1
}
