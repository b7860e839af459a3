package state

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// maxPart is the longest part that a key shows as it is.
const maxPart = 64

// Key makes a key of a kind, which is a word of the caller's, and of parts that may come from anybody. Parts that are
// long or have octets of meaning to Redis, logs or this form are replaced by a hash. Different parts make different keys.
//
//	Key("grey", "192.0.2.0/24", "a@example.com") = "grey:{192.0.2.0/24|a@example.com}"
//
// The braces are a hash tag: in a Redis Cluster all keys with the same parts share a slot.
func Key(kind string, parts ...string) string {
	if len(kind) > 32 || !plain(kind) || strings.Contains(kind, ":") {
		kind = digest(kind)
	}
	length := len(kind) + 3
	for _, part := range parts {
		length += len(part) + 1
	}
	var b strings.Builder
	b.Grow(min(length, maxKey))
	b.WriteString(kind)
	b.WriteString(":{")
	for i, part := range parts {
		if i > 0 {
			b.WriteByte('|')
		}
		if len(part) > maxPart || !plain(part) {
			part = digest(part)
		}
		b.WriteString(part)
	}
	if b.Len()+1 > maxKey {
		return kind + ":{" + digest(b.String()[len(kind)+2:]) + "}"
	}
	b.WriteByte('}')
	return b.String()
}

// plain says whether all octets can stand in a key: no brace, no bar, no hash sign, no glob, no control.
func plain(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte(".-_@+=/:", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// digest stands for a part; "#" is in no plain part, so nobody can send a part that looks like another one's digest.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "#" + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// bounded is a caller's key, or a stand-in of the same kind if it is too long.
func bounded(key string) string {
	if len(key) <= maxKey {
		return key
	}
	kind := kindOf(key)
	if len(kind) > 32 {
		kind = ""
	}
	return kind + ":{" + digest(key) + "}"
}

// kindOf is the word before a key's first colon.
func kindOf(key string) string {
	kind, _, _ := strings.Cut(key, ":")
	return kind
}

func hashMember(member string) uint64 {
	sum := sha256.Sum256([]byte(member))
	return binary.BigEndian.Uint64(sum[:8])
}
