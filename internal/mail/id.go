package mail

import (
	"crypto/rand"
	"encoding/binary"
	"strconv"
	"strings"
	"time"

	"postern/internal/mail/ascii"
)

// idAlphabet is Crockford's base 32: no letter that can be misread over the telephone.
const idAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// NewID makes the id of a connection: 16 characters, sorted by time (milliseconds), the last 6 random (30 bits).
func NewID(now time.Time) string {
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand ends the program instead
	n := uint64(now.UnixMilli())
	var id [16]byte
	for i := 9; i >= 0; i-- {
		id[i] = idAlphabet[n&31]
		n >>= 5
	}
	r := binary.BigEndian.Uint32(random[:])
	for i := 15; i >= 10; i-- {
		id[i] = idAlphabet[r&31]
		r >>= 5
	}
	return string(id[:])
}

// TransactionID names the n-th transaction (from 1) of a session.
func TransactionID(session string, n int) string { return session + "." + strconv.Itoa(n) }

// ValidID says whether the text has the form of an id, so that it can be part of a file name.
func ValidID(id string) bool {
	if id == "" || len(id) > 64 || strings.IndexByte(".-", id[0]) >= 0 {
		return false
	}
	for i := range len(id) {
		if c := id[i]; !ascii.IsAlnum(c) && c != '.' && c != '-' {
			return false
		}
	}
	return true
}
