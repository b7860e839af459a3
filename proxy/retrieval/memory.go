package retrieval

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"time"

	"postern/internal/state"
)

// entry is what is remembered of a message.
type entry struct {
	ruling    Ruling
	epoch     uint64
	at        time.Time
	messageID string
	sealID    string // of the transaction that its seal names, "" for no seal
	kept      bool   // its original is kept
	size      int64  // as the server said, 0 for unknown
	front     [8]byte
}

// fits says whether the entry is of what lies in the place now, as far as both say.
func (e entry) fits(p Place) bool {
	return (p.Front == [8]byte{} || e.front == p.Front) && (p.Size == 0 || e.size == 0 || e.size == p.Size)
}

// The longest texts that are kept in an entry, in octets.
const (
	maxWhy       = 300
	maxMessageID = 998
)

// key is the key of the state for a place, not ok for one that is not known well enough.
func (p Place) key() (string, bool) {
	if p.UIDL == "" && (p.UID == 0 || p.UIDValidity == 0) {
		return "", false
	}
	h := sha256.New()
	for _, part := range []string{p.Backend, p.User, p.Reader, p.Mailbox, p.UIDL} {
		writeText(h, part)
	}
	var n [8]byte
	binary.BigEndian.PutUint32(n[:], p.UIDValidity)
	binary.BigEndian.PutUint32(n[4:], p.UID)
	h.Write(n[:])
	return state.Key("fetch-place", base64.RawURLEncoding.EncodeToString(h.Sum(nil))), true
}

func writeText(h hash.Hash, text string) {
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], uint32(len(text)))
	h.Write(n[:])
	h.Write([]byte(text))
}

// contentKey is the key for what one reader's policy says of a content.
func contentKey(sum [sha256.Size]byte, p Place, reader string) string {
	h := sha256.New()
	h.Write(sum[:])
	for _, part := range []string{p.Backend, p.User, reader} {
		writeText(h, part)
	}
	if p.Own {
		h.Write([]byte{1})
	}
	return state.Key("fetch-content", base64.RawURLEncoding.EncodeToString(h.Sum(nil)))
}

// factsKey is the key for what the filters found in a content, whoever reads it.
func factsKey(sum [sha256.Size]byte) string {
	return state.Key("fetch-facts", base64.RawURLEncoding.EncodeToString(sum[:]))
}

// noEpoch is the mark of what holds in no epoch.
const noEpoch = 0

// epochMark stands for an epoch.
func epochMark(epoch string) uint64 {
	sum := sha256.Sum256([]byte(epoch))
	return binary.BigEndian.Uint64(sum[:8]) | 1
}

func (d *VerdictCache) recall(ctx context.Context, key string) (entry, bool) {
	value, ok := d.opt.State.Get(ctx, key)
	if !ok {
		return entry{}, false
	}
	e, ok := parseEntry(value)
	e.ruling.MessageID = e.messageID
	return e, ok
}

func (d *VerdictCache) remember(ctx context.Context, key string, e entry) {
	if keep := e.at.Add(d.opt.Trust).Sub(d.opt.Now()); keep > 0 {
		d.opt.State.Put(ctx, key, e.append(nil), keep)
	}
}

// holds says whether what is remembered is of this epoch and not too old.
func (d *VerdictCache) holds(e entry) bool {
	return e.epoch == epochMark(d.opt.Epoch()) && d.fresh(e.at)
}

// stillHolds says whether what is remembered may be the answer again: what is masked only if its original is kept.
func (d *VerdictCache) stillHolds(e entry) bool {
	return d.holds(e) && (!e.ruling.Masked || d.opt.Originals == nil || e.kept)
}

// fresh says whether a time is within the time of trust. A clock that differs by a few minutes does no harm.
func (d *VerdictCache) fresh(at time.Time) bool {
	age := d.opt.Now().Sub(at)
	return age < d.opt.Trust && age > -5*time.Minute
}

// recallsReady is nil if it is known what was called back.
func (d *VerdictCache) recallsReady(ctx context.Context) error {
	if d.opt.Recalls == nil {
		return nil
	}
	return d.opt.Recalls.Ready(ctx)
}

// recalled asks whether an admin called the message back: by what lies in the mailbox, or by the seal's transaction, since
// what came in had other octets and perhaps no Message-ID.
func (d *VerdictCache) recalled(ctx context.Context, sum [sha256.Size]byte, messageID, sealID string) (string, bool) {
	if d.opt.Recalls == nil {
		return "", false
	}
	why, ok := d.opt.Recalls.Recalled(ctx, hex.EncodeToString(sum[:]), messageID)
	if !ok && sealID != "" {
		why, ok = d.opt.Recalls.Recalled(ctx, "", sealID)
	}
	if ok && why == "" {
		why = "called back by the administrator"
	}
	return cut(why, maxWhy), ok
}

const entryVersion = 3

// The flags of an entry.
const (
	flagMasked = 1 << iota
	flagKept
	flagsEnd
)

// append writes an entry: version, flags, epoch, time, hash, size, front, then texts with their length in front.
func (e entry) append(b []byte) []byte {
	flags := byte(0)
	if e.ruling.Masked {
		flags |= flagMasked
	}
	if e.kept {
		flags |= flagKept
	}
	b = append(b, entryVersion, flags)
	b = binary.BigEndian.AppendUint64(b, e.epoch)
	b = binary.BigEndian.AppendUint64(b, uint64(e.at.UnixMilli()))
	b = append(b, e.ruling.SHA256[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.size))
	b = append(b, e.front[:]...)
	for _, text := range []string{e.ruling.ID, cut(e.ruling.Why, maxWhy), e.messageID, e.sealID} {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	return b
}

// fixedEntry is the length of what stands before the texts.
const fixedEntry = 2 + 8 + 8 + sha256.Size + 8 + 8

func parseEntry(b []byte) (e entry, ok bool) {
	if len(b) < fixedEntry || b[0] != entryVersion || b[1] >= flagsEnd {
		return entry{}, false
	}
	e.ruling.Masked, e.kept = b[1]&flagMasked != 0, b[1]&flagKept != 0
	e.epoch = binary.BigEndian.Uint64(b[2:])
	e.at = time.UnixMilli(int64(binary.BigEndian.Uint64(b[10:])))
	copy(e.ruling.SHA256[:], b[18:])
	e.size = int64(binary.BigEndian.Uint64(b[18+sha256.Size:]))
	copy(e.front[:], b[26+sha256.Size:])
	rest := b[fixedEntry:]
	for _, text := range []*string{&e.ruling.ID, &e.ruling.Why, &e.messageID, &e.sealID} {
		n, used := binary.Uvarint(rest)
		if used <= 0 || n > uint64(len(rest)-used) {
			return entry{}, false
		}
		*text, rest = string(rest[used:used+int(n)]), rest[used+int(n):]
	}
	return e, len(rest) == 0
}

func cut(text string, limit int) string { return text[:min(len(text), limit)] }

// bounded leaves out a Message-ID that is longer than a line may be: nobody can call it back by that.
func bounded(messageID string) string {
	if len(messageID) > maxMessageID {
		return ""
	}
	return messageID
}
