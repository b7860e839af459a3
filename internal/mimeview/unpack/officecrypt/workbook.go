package officecrypt

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rc4"
	"crypto/sha1"
	"encoding/binary"
)

// blockSize is after how many octets of a workbook a new key begins: OFFCRYPTO 2.3.5.2, [MS-XLS] 2.2.10
const blockSize = 1024

// OpenWorkbook decrypts the stream of an Excel 97 workbook. pass is the FilePass record's content. [MS-XLS] 2.4.117
func OpenWorkbook(stream, pass []byte, password string) ([]byte, error) {
	if len(pass) < 6 || le16(pass) != 1 {
		return nil, ErrUnknown // XOR obfuscation, of Excel 95
	}
	pass = pass[2:]
	var keys func(block uint32) []byte
	var err error
	switch major, minor := le16(pass), le16(pass[2:]); {
	case major == 1 && minor == 1:
		keys, err = rc4Keys(pass[4:], wide(password))
	case minor == 2 && major >= 2 && major <= 4:
		keys, err = cryptoAPIKeys(pass[4:], wide(password))
	default:
		return nil, ErrUnknown
	}
	if err != nil {
		return nil, err
	}
	return records(stream, keys), nil
}

// rc4Keys is OFFCRYPTO 2.3.6: 40 bits out of MD5. Salt, verifier and its hash have 16 octets each.
func rc4Keys(b, password []byte) (func(uint32) []byte, error) {
	if len(b) < 48 {
		return nil, ErrUnknown
	}
	first := md5.Sum(password)
	second := md5.Sum(bytes.Repeat(append(first[:5:5], b[:16]...), 16))
	keys := func(block uint32) []byte {
		key := md5.Sum(binary.LittleEndian.AppendUint32(bytes.Clone(second[:5]), block))
		return key[:]
	}
	plain := crypted(keys(0), b[16:48])
	if want := md5.Sum(plain[:16]); !hmac.Equal(want[:], plain[16:]) {
		return nil, ErrPassword
	}
	return keys, nil
}

// cryptoAPIKeys is OFFCRYPTO 2.3.5: SHA-1, up to 128 bits.
func cryptoAPIKeys(b, password []byte) (func(uint32) []byte, error) {
	if len(b) < 8 {
		return nil, ErrUnknown
	}
	size := le32(b[4:])
	b = b[8:]
	if size < 32 || size+20+16+4+20 > int64(len(b)) {
		return nil, ErrUnknown
	}
	bits := le32(b[16:])
	if bits == 0 {
		bits = 40
	}
	algorithm := le32(b[8:])
	isRC4 := algorithm == 0x6801 || algorithm == 0
	if !isRC4 || bits < 40 || bits > 128 {
		return nil, ErrUnknown
	}
	b = b[size:]
	base := sha1.Sum(append(bytes.Clone(b[4:20]), password...))
	keys := func(block uint32) []byte {
		sum := sha1.Sum(binary.LittleEndian.AppendUint32(bytes.Clone(base[:]), block))
		key := sum[:bits/8]
		if bits == 40 { // OFFCRYPTO 2.3.5.2: with zeros up to 128 bits
			key = append(bytes.Clone(key), make([]byte, 11)...)
		}
		return key
	}
	plain := crypted(keys(0), append(bytes.Clone(b[20:36]), b[40:60]...))
	if want := sha1.Sum(plain[:16]); !hmac.Equal(want[:], plain[16:]) {
		return nil, ErrPassword
	}
	return keys, nil
}

func crypted(key, b []byte) []byte {
	out := make([]byte, len(b))
	if c, err := rc4.NewCipher(key); err == nil {
		c.XORKeyStream(out, b)
	}
	return out
}

// records decrypts all, then puts back what is never encrypted: the heads of records, and some records whole.
func records(stream []byte, keys func(uint32) []byte) []byte {
	out := make([]byte, 0, len(stream))
	for at, block := 0, uint32(0); at < len(stream); at, block = at+blockSize, block+1 {
		out = append(out, crypted(keys(block), stream[at:min(len(stream), at+blockSize)])...)
	}
	for at := 0; at+4 <= len(stream); {
		id, size := le16(stream[at:]), le16(stream[at+2:])
		open := 4
		switch id {
		case 0x809, 0x2f, 0x194, 0x195, 0xe1, 0x196, 0x138: // BOF, FilePass, UsrExcl, FileLock, InterfaceHdr, RRDInfo, RRDHead
			open += size
		case 0x85: // BoundSheet8: where the sheet begins
			open += 4
		}
		copy(out[at:], stream[at:min(len(stream), at+open)])
		at += 4 + size
	}
	return out
}
