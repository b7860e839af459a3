package unpack

import (
	"bytes"
	"compress/bzip2"
	"compress/flate"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1"
	"hash/crc32"
	"io"
	"slices"

	"postern/internal/mimeview/unpack/filetype"
	"postern/internal/mimeview/unpack/zipdir"
)

// maxLocked: after so many entries that no password opened, the rest is not tried. Each trial has its price by design.
const maxLocked = 20

// encryption gives the method of compression below the encryption, and what the entry is encrypted with.
func encryption(e *zipdir.Entry) (method uint16, scheme string) {
	method, scheme = e.Method, "ZipCrypto"
	if e.Method == 99 {
		method, scheme = e.AES.Method, "AES"
	}
	if e.Flags&(0x40|0x2000) != 0 { // APPNOTE 7: strong encryption, masked directory
		scheme = "strong encryption"
	}
	return method, scheme
}

// decrypt tries one password; a scheme that is not known opens with none.
func decrypt(b []byte, scheme, password string, e *zipdir.Entry) ([]byte, bool) {
	switch scheme {
	case "ZipCrypto":
		return zipCrypto(b, password, e)
	case "AES":
		return winzipAES(b, password, e.AES.Strength)
	}
	return nil, false
}

// locked tries the passwords on an encrypted entry. APPNOTE 6.0, WinZip AE-1 and AE-2
func (z *zipReader) locked(e *zipdir.Entry, flags []Flag) {
	method, scheme := encryption(e)
	limited := e.Data[:e.Packed]
	if !z.w.late() && notLocked(limited, e) {
		z.open(e, e.Data, e.Method, append(flags, Flag{HeadersDiffer, "not encrypted, against what its header says"}))
		return
	}
	for _, password := range z.candidates() {
		if z.w.late() {
			break
		}
		plain, ok := decrypt(limited, scheme, password, e)
		if ok && z.proves(plain, method, e) {
			z.password = password
			e.Packed = int64(len(plain))
			z.open(e, plain, method, append(flags, Flag{Unlocked, scheme}))
			return
		}
	}
	z.failed++
	z.w.closed(z.n, e.Names, append(flags, Flag{Encrypted, scheme})...)
}

// notLocked says whether content is plain that is said to be encrypted: there are programs that don't ask.
func notLocked(packed []byte, e *zipdir.Entry) bool {
	switch e.Method {
	case 0:
		front := packed[:min(len(packed), 4096)] // of more than a MiB the sum is not made: its front must do
		return len(packed) <= proofBytes && crc32.ChecksumIEEE(packed) == e.CRC ||
			len(front) > 64 && (bytes.HasPrefix(front, []byte(eicar)) || filetype.Detect(front, nil)[0].Class == filetype.Executable)
	case 8:
		left := bytes.NewReader(packed)
		size, err := io.Copy(io.Discard, io.LimitReader(flate.NewReader(left), lockProof))
		return err == nil && (size == lockProof || left.Len() < 16)
	}
	return false
}

// lockProof: what inflates to so many octets, or to its own end, was deflated and nothing else.
const lockProof = 64 << 10

func (z *zipReader) candidates() []string {
	if z.failed > maxLocked {
		return nil
	}
	if z.password != "" {
		return append([]string{z.password}, z.w.o.Passwords...)
	}
	return z.w.o.Passwords
}

// proves decodes the beginning: a wrong password passes the formats' own check one time in 256, or 65,536.
func (z *zipReader) proves(plain []byte, method uint16, e *zipdir.Entry) bool {
	var r io.Reader
	switch method {
	case 0:
		r = bytes.NewReader(plain)
	case 8:
		r = flate.NewReader(bytes.NewReader(plain))
	case 12:
		r = bzip2.NewReader(bytes.NewReader(plain))
	default:
		return true
	}
	sum, size, err := crcOf(r)
	return err == nil && (size == proofBytes || e.AES.Version == 2 || sum == e.CRC) // AE-2 has no CRC
}

// proofBytes: who decodes a MiB without an error had the right password.
const proofBytes = 1 << 20

func crcOf(r io.Reader) (sum uint32, size int64, err error) {
	h := crc32.NewIEEE()
	size, err = io.Copy(h, io.LimitReader(r, proofBytes))
	return h.Sum32(), size, err
}

// zipCrypto is the cipher of PKZIP 2. APPNOTE 6.1
func zipCrypto(b []byte, password string, e *zipdir.Entry) ([]byte, bool) {
	if len(b) < 12 {
		return nil, false
	}
	key := [3]uint32{0x12345678, 0x23456789, 0x34567890}
	update := func(c byte) {
		key[0] = crc32.IEEETable[byte(key[0])^c] ^ key[0]>>8
		key[1] = (key[1]+key[0]&0xff)*134775813 + 1
		key[2] = crc32.IEEETable[byte(key[2])^byte(key[1]>>24)] ^ key[2]>>8
	}
	for i := range len(password) {
		update(password[i])
	}
	decrypt := func(c byte) byte {
		t := key[2] | 2
		c ^= byte(t * (t ^ 1) >> 8)
		update(c)
		return c
	}
	var last byte
	for i := range 12 {
		last = decrypt(b[i])
	}
	if last != byte(e.CRC>>24) && last != byte(e.Time>>8) {
		return nil, false
	}
	plain := make([]byte, len(b)-12)
	for i, c := range b[12:] {
		plain[i] = decrypt(c)
	}
	return plain, true
}

// winzipAES: salt, two octets of check, the content in counter mode, ten octets of HMAC.
func winzipAES(b []byte, password string, strength byte) ([]byte, bool) {
	if strength < 1 || strength > 3 {
		return nil, false
	}
	keyLen := 8 + 8*int(strength)
	saltLen := keyLen / 2
	if len(b) < saltLen+12 {
		return nil, false
	}
	derived, err := pbkdf2.Key(sha1.New, password, b[:saltLen], 1000, 2*keyLen+2)
	if err != nil || !bytes.Equal(derived[2*keyLen:], b[saltLen:saltLen+2]) {
		return nil, false
	}
	block, err := aes.NewCipher(derived[:keyLen])
	if err != nil {
		return nil, false
	}
	plain := slices.Clone(b[saltLen+2 : len(b)-10])
	countFromOne(block, plain)
	return plain, true
}

// countFromOne decrypts in WinZip's counter mode, which counts from one with the lowest octet first: not the counter mode
// of the standard library.
func countFromOne(block cipher.Block, plain []byte) {
	var counter, stream [aes.BlockSize]byte
	for at := 0; at < len(plain); at += aes.BlockSize {
		for i := range counter {
			if counter[i]++; counter[i] != 0 {
				break
			}
		}
		block.Encrypt(stream[:], counter[:])
		for i := range min(aes.BlockSize, len(plain)-at) {
			plain[at+i] ^= stream[i]
		}
	}
}
