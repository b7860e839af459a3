// Package officecrypt opens what Office has encrypted with a password that is known. [MS-OFFCRYPTO] is meant by "OFFCRYPTO".
package officecrypt

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"hash"
	"io"
	"unicode/utf16"
)

// Excel tries this password by itself, without a dialogue: OFFCRYPTO 2.2.1 and the read-only mode of books.
const BuiltIn = "VelvetSweatshop"

var (
	// ErrPassword says that the password is another one.
	ErrPassword = errors.New("another password")
	// ErrUnknown says that it is encrypted in a way that is not read here.
	ErrUnknown = errors.New("unknown encryption")
)

// maxSpin is how many rounds of the key's hash are done for one password: Office writes 50,000 or 100,000.
const maxSpin = 100_000

// A Package is an EncryptionInfo stream with its EncryptedPackage: a zip within a compound file.
type Package struct {
	info, sealed []byte
	stop         func() bool
}

// NewPackage takes both streams. stop is asked now and then and ends the work.
func NewPackage(info, sealed []byte, stop func() bool) Package { return Package{info, sealed, stop} }

// Open decrypts it.
func (p Package) Open(password string) ([]byte, error) {
	if len(p.info) < 8 || len(p.sealed) < 8 {
		return nil, ErrUnknown
	}
	size := binary.LittleEndian.Uint64(p.sealed)
	var plain []byte
	var err error
	switch major, minor := le16(p.info), le16(p.info[2:]); {
	case major == 4 && minor == 4:
		plain, err = p.agile(password)
	case minor == 2 && major >= 2 && major <= 4:
		plain, err = p.standard(password)
	default:
		return nil, ErrUnknown
	}
	if err != nil {
		return nil, err
	}
	return plain[:min(uint64(len(plain)), size)], nil
}

func le16(b []byte) int { return int(binary.LittleEndian.Uint16(b)) }

func le32(b []byte) int64 { return int64(binary.LittleEndian.Uint32(b)) }

func wide(password string) []byte {
	var out []byte
	for _, u := range utf16.Encode([]rune(password)) {
		out = binary.LittleEndian.AppendUint16(out, u)
	}
	return out
}

// spun is OFFCRYPTO 2.3.4.7 and 2.3.4.11: the hash of salt and password, and that again and again behind its number.
func (p Package) spun(newHash func() hash.Hash, salt, password []byte, rounds int) ([]byte, error) {
	h := newHash()
	h.Write(salt)
	h.Write(password)
	sum := h.Sum(nil)
	var number [4]byte
	for i := range rounds {
		if i%8192 == 0 && p.stop != nil && p.stop() {
			return nil, ErrPassword
		}
		binary.LittleEndian.PutUint32(number[:], uint32(i))
		h.Reset()
		h.Write(number[:])
		h.Write(sum)
		sum = h.Sum(sum[:0])
	}
	return sum, nil
}

// standard is OFFCRYPTO 2.3.4.5 to 2.3.4.9: AES in ECB.
func (p Package) standard(password string) ([]byte, error) {
	b := p.info[8:]
	if len(b) < 4 {
		return nil, ErrUnknown
	}
	size := le32(b)
	b = b[4:]
	if size < 32 || size+20+16+4+32 > int64(len(b)) {
		return nil, ErrUnknown
	}
	algorithm, bits := le32(b[8:]), le32(b[16:])
	aesBits := bits == 128 || bits == 192 || bits == 256
	if algorithm < 0x660e || algorithm > 0x6610 || !aesBits {
		return nil, ErrUnknown
	}
	b = b[size:]
	salt, verifier, proof := b[4:20], b[20:36], b[40:72]
	sum, err := p.spun(sha1.New, salt, wide(password), 50_000)
	if err != nil {
		return nil, err
	}
	final := sha1.Sum(append(sum, 0, 0, 0, 0))
	block, err := aes.NewCipher(stretched(final[:])[:bits/8])
	if err != nil {
		return nil, err
	}
	want := sha1.Sum(ecb(block, verifier))
	if !hmac.Equal(want[:], ecb(block, proof)[:20]) {
		return nil, ErrPassword
	}
	return ecb(block, p.sealed[8:]), nil
}

func ecb(block cipher.Block, b []byte) []byte {
	out := make([]byte, len(b)/16*16)
	for i := 0; i < len(out); i += 16 {
		block.Decrypt(out[i:], b[i:])
	}
	return out
}

// agileInfo is the XML of OFFCRYPTO 2.3.4.10.
type agileInfo struct {
	Data agileKey   `xml:"keyData"`
	Keys []agileKey `xml:"keyEncryptors>keyEncryptor>encryptedKey"`
}

type agileKey struct {
	Salt     string `xml:"saltValue,attr"`
	Bits     int    `xml:"keyBits,attr"`
	Hash     string `xml:"hashAlgorithm,attr"`
	HashSize int    `xml:"hashSize,attr"`
	Cipher   string `xml:"cipherAlgorithm,attr"`
	Chaining string `xml:"cipherChaining,attr"`
	Spin     int    `xml:"spinCount,attr"`
	Input    string `xml:"encryptedVerifierHashInput,attr"`
	Value    string `xml:"encryptedVerifierHashValue,attr"`
	Key      string `xml:"encryptedKeyValue,attr"`
}

func (k *agileKey) hash() (func() hash.Hash, bool) {
	switch k.Hash {
	case "SHA1", "SHA-1":
		return sha1.New, true
	case "SHA256":
		return sha256.New, true
	case "SHA384":
		return sha512.New384, true
	case "SHA512":
		return sha512.New, true
	case "MD5":
		return md5.New, true
	}
	return nil, false
}

func (k *agileKey) sound() bool {
	return k.Cipher == "AES" && k.Chaining == "ChainingModeCBC" && (k.Bits == 128 || k.Bits == 192 || k.Bits == 256)
}

// stretched makes 40 octets of a hash of 20. OFFCRYPTO 2.3.4.7
func stretched(hash []byte) (key []byte) {
	for _, pad := range []byte{0x36, 0x5c} {
		buf := bytes.Repeat([]byte{pad}, 64)
		for i, c := range hash {
			buf[i] ^= c
		}
		one := sha1.Sum(buf)
		key = append(key, one[:]...)
	}
	return key
}

// agile is OFFCRYPTO 2.3.4.10 to 2.3.4.15: AES in CBC, with a key of its own that the password opens.
func (p Package) agile(password string) ([]byte, error) {
	var info agileInfo
	d := xml.NewDecoder(io.LimitReader(bytes.NewReader(p.info[8:]), 64<<10))
	if err := d.Decode(&info); err != nil || len(info.Keys) == 0 {
		return nil, ErrUnknown
	}
	k := &info.Keys[0]
	newHash, ok := k.hash()
	dataHash, okData := info.Data.hash()
	known := ok && okData && k.sound() && info.Data.sound()
	if !known || k.Spin < 0 || k.Spin > maxSpin {
		return nil, ErrUnknown
	}
	salt := decoded(k.Salt)
	sum, err := p.spun(newHash, salt, wide(password), k.Spin)
	if err != nil {
		return nil, err
	}
	open := func(block, sealed string) []byte {
		h := newHash()
		h.Write(sum)
		h.Write([]byte(block))
		return cbc(fitted(h.Sum(nil), k.Bits/8), fitted(salt, aes.BlockSize), decoded(sealed))
	}
	input := open("\xfe\xa7\xd2\x76\x3b\x4b\x9e\x79", k.Input)
	value := open("\xd7\xaa\x0f\x6d\x30\x61\x34\x4e", k.Value)
	h := newHash()
	h.Write(input)
	if want := h.Sum(nil); !hmac.Equal(want, value[:min(len(value), len(want))]) {
		return nil, ErrPassword
	}
	key := open("\x14\x6e\x0b\xe7\xab\xac\xd0\xd6", k.Key)
	if len(key) < info.Data.Bits/8 {
		return nil, ErrUnknown
	}
	return segments(key[:info.Data.Bits/8], decoded(info.Data.Salt), dataHash, p.sealed[8:]), nil
}

// segments decrypts pieces of 4,096 octets, each with its number in the vector. OFFCRYPTO 2.3.4.15
func segments(key, salt []byte, newHash func() hash.Hash, b []byte) []byte {
	const size = 4096
	out := make([]byte, 0, len(b))
	for number := uint32(0); len(b) >= aes.BlockSize; number++ {
		h := newHash()
		h.Write(salt)
		_ = binary.Write(h, binary.LittleEndian, number) // a hash takes all
		out = append(out, cbc(key, fitted(h.Sum(nil), aes.BlockSize), b[:min(size, len(b))])...)
		b = b[min(size, len(b)):]
	}
	return out
}

func cbc(key, iv, b []byte) []byte {
	block, err := aes.NewCipher(key)
	b = b[:len(b)/aes.BlockSize*aes.BlockSize]
	if err != nil || len(b) == 0 {
		return nil
	}
	out := make([]byte, len(b))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(out, b)
	return out
}

// fitted cuts off or fills up with 0x36. OFFCRYPTO 2.3.4.11
func fitted(b []byte, size int) []byte {
	if len(b) >= size {
		return b[:size]
	}
	return append(bytes.Clone(b), bytes.Repeat([]byte{0x36}, size-len(b))...)
}

func decoded(text string) []byte {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil
	}
	return b
}
