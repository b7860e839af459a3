package lures

import (
	"crypto/sha256"
	"math/big"
	"slices"
	"strings"

	"postern/internal/mail/ascii"
)

// Bounds of an address of a currency, in characters. Segwit addresses have at most 90.
const (
	minCoin = 26
	maxCoin = 90
)

// coins gives the addresses of currencies in a text, as far as their check digits are right, and where they stand. At most
// maxCoins.
func coins(text string) (all []string) {
	for i := 0; i < len(text) && len(all) < maxCoins; i++ {
		// nothing is long enough that does not reach the last place that it must
		last := i + minCoin - 1
		for last < len(text) && last >= i && isAlphanumeric(text[last]) {
			last--
		}
		if last >= i {
			i = last
			continue
		}
		start := i
		for i < len(text) && isAlphanumeric(text[i]) {
			i++
		}
		if n := i - start; n >= minCoin && n <= maxCoin && isCoin(text[start:i]) {
			all = append(all, text[start:i])
		}
	}

	return all
}

const maxCoins = 5

func isAlphanumeric(c byte) bool {
	return ascii.IsDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// isCoin says whether a word is an address of Bitcoin, Litecoin, Dogecoin, Dash, Zcash, Tron or Bitcoin Cash.
func isCoin(word string) bool {
	lower := strings.ToLower(word)
	switch {
	case strings.HasPrefix(lower, "bc1"), strings.HasPrefix(lower, "ltc1"):
		return isSegwit(lower)
	case len(word) == 42 && (lower[0] == 'q' || lower[0] == 'p'):
		return isCash(lower)
	case len(word) <= 35:
		return isBase58(word)
	}

	return false
}

const base58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

// isBase58 checks a version, a hash of 20 octets and the first 4 of its double SHA-256.
func isBase58(word string) bool {
	n := new(big.Int)
	for i := range len(word) {
		digit := strings.IndexByte(base58, word[i])
		if digit < 0 {
			return false
		}
		n.Mul(n, big.NewInt(int64(len(base58))))
		n.Add(n, big.NewInt(int64(digit)))
	}
	if n.BitLen() > 26*8 {
		return false
	}
	all := n.FillBytes(make([]byte, 26))
	// Of one octet of version all[0] is 0; Zcash has two.
	payload := all[1:22]
	if all[0] != 0 {
		payload = all[:22]
	}
	once := sha256.Sum256(payload)
	twice := sha256.Sum256(once[:])

	return string(twice[:4]) == string(all[22:]) && isVersion(all[0], all[1])
}

// isVersion holds for the versions of public keys and scripts.
func isVersion(first, second byte) bool {
	if first != 0 {
		return first == 0x1c && (second == 0xb8 || second == 0xbd) // Zcash
	}

	// Bitcoin, Dash, Dogecoin, Litecoin, Tron.
	return slices.Contains([]byte{0x00, 0x05, 0x4c, 0x10, 0x1e, 0x16, 0x30, 0x32, 0x41}, second)
}

const bech32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

// isSegwit checks BIP 173 (bech32) and BIP 350 (bech32m).
func isSegwit(word string) bool {
	human, data, _ := strings.Cut(word, "1")
	check := uint32(1)
	for i := range len(human) {
		check = segwitStep(check, human[i]>>5)
	}
	check = segwitStep(check, 0)
	for i := range len(human) {
		check = segwitStep(check, human[i]&31)
	}
	for i := range len(data) {
		digit := strings.IndexByte(bech32, data[i])
		if digit < 0 {
			return false
		}
		check = segwitStep(check, byte(digit))
	}

	return check == 1 || check == 0x2bc830a3
}

func segwitStep(check uint32, digit byte) uint32 {
	top := check >> 25
	check = (check&0x1ffffff)<<5 ^ uint32(digit)
	for i, g := range [5]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
		if top>>i&1 != 0 {
			check ^= g
		}
	}

	return check
}

// isCash checks an address of Bitcoin Cash without its prefix: its check digits are 40 bits.
func isCash(word string) bool {
	check := uint64(1)
	for _, c := range []byte("bitcoincash") {
		check = cashStep(check, c&31)
	}
	check = cashStep(check, 0)
	for i := range len(word) {
		digit := strings.IndexByte(bech32, word[i])
		if digit < 0 {
			return false
		}
		check = cashStep(check, byte(digit))
	}

	return check == 1
}

func cashStep(check uint64, digit byte) uint64 {
	top := check >> 35
	check = (check&0x07ffffffff)<<5 ^ uint64(digit)
	for i, g := range [5]uint64{0x98f2bc8e61, 0x79b76d99e2, 0xf33e5fb3c4, 0xae2eabe2a8, 0x1e4f43e470} {
		if top>>i&1 != 0 {
			check ^= g
		}
	}

	return check
}
