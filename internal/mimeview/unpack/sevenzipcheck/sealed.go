package sevenzipcheck

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"slices"
	"unicode/utf16"
)

// idAES is the coder that an encrypted header has in front of its compression.
const idAES = "\x06\xf1\x07\x01"

// maxCycles bounds the rounds for a key, two to this power; 7-Zip writes 19.
const maxCycles = 20

// unsealed decrypts a header and unpacks it. What a wrong password gives is no header; it ends in an error.
func (c *cursor) unsealed(body []byte) (*cursor, error) {
	at := slices.IndexFunc(c.coders, func(one coder) bool { return string(one.id) == idAES })
	if at < 0 || len(c.coders) > 2 || len(c.unpacked) < len(c.coders) {
		return c, ErrEncrypted
	}
	packed, ok := c.firstPacked(body)
	if !ok {
		return c, ErrEncrypted
	}
	plain := decrypted(c.coders[at].properties, c.limits.Password, packed)
	if plain == nil {
		return c, ErrEncrypted
	}
	plain = plain[:min(uint64(len(plain)), c.unpacked[at])]
	if len(c.coders) == 2 {
		size := c.unpacked[1-at]
		if size > maxHeader {
			return c, errBroken
		}
		r, err := open(c.coders[1-at], size, plain)
		if err != nil {
			return c, ErrEncrypted
		}
		if plain, err = io.ReadAll(io.LimitReader(r, int64(size))); err != nil {
			return c, ErrEncrypted
		}
	}
	return &cursor{b: plain, limits: c.limits, locked: true}, nil
}

// decrypted undoes AES-256 in CBC. Properties: rounds and sizes, then salt and vector.
func decrypted(p []byte, password string, b []byte) []byte {
	if len(p) < 2 || p[0]&0x3f > maxCycles {
		return nil
	}
	salt, iv := int(p[0]>>7)+int(p[1]>>4), int(p[0]>>6&1)+int(p[1]&0xf)
	if len(p) < 2+salt+iv || iv > aes.BlockSize {
		return nil
	}
	secret := bytes.Clone(p[2 : 2+salt])
	for _, u := range utf16.Encode([]rune(password)) {
		secret = binary.LittleEndian.AppendUint16(secret, u)
	}
	h := sha256.New()
	at := len(secret)
	secret = append(secret, make([]byte, 8)...)
	for number := range uint64(1) << (p[0] & 0x3f) {
		binary.LittleEndian.PutUint64(secret[at:], number)
		h.Write(secret)
	}
	block, err := aes.NewCipher(h.Sum(nil))
	if err != nil {
		return nil
	}
	vector := make([]byte, aes.BlockSize)
	copy(vector, p[2+salt:2+salt+iv])
	out := make([]byte, len(b)/aes.BlockSize*aes.BlockSize)
	cipher.NewCBCDecrypter(block, vector).CryptBlocks(out, b[:len(out)])
	return out
}
