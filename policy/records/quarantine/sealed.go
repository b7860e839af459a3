package quarantine

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"postern/internal/mail"
)

// KeySize is the length of a key in octets.
const KeySize = 32

// chunk is how many octets of a message are sealed together.
const chunk = 64 << 10

// Errors of sealed messages.
var (
	ErrKey     = errors.New("there is no key for it: the quarantine's key is missing or another one")
	ErrDamaged = errors.New("the sealed message is damaged: its octets are not those that were held")
)

// seal says how a message is sealed: AES-256-GCM over chunks, with a key of its own (HKDF-SHA256 of ours, the salt and
// the id), the chunk's number and whether it is the last as nonce. So no chunk can be changed, left out, moved or taken
// into another file without notice.
type seal struct {
	Version int    `json:"version"`
	KeyID   string `json:"key"`
	Salt    []byte `json:"salt"`
}

func newSeal(key []byte) *seal {
	salt := make([]byte, 32)
	_, _ = rand.Read(salt) // never fails: crypto/rand ends the program instead
	return &seal{1, keyID(key), salt}
}

// keyID names a key without telling anything of it.
func keyID(key []byte) string {
	sum := sha256.Sum256(append([]byte("postern quarantine key id\n"), key...))
	return hex.EncodeToString(sum[:8])
}

func (s *seal) cipher(key []byte, id string) (cipher.AEAD, error) {
	own, err := hkdf.Key(sha256.New, key, s.Salt, "postern quarantine 1 "+id, KeySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(own)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func nonce(n uint64, last bool) []byte {
	b := make([]byte, 12)
	binary.BigEndian.PutUint64(b[3:], n)
	if last {
		b[11] = 1
	}
	return b
}

// sealing writes a message sealed.
type sealing struct {
	seal    *seal
	key     []byte
	id      string
	content mail.Copy
}

// WriteTo writes the chunks.
func (s sealing) WriteTo(w io.Writer) (int64, error) {
	gcm, err := s.seal.cipher(s.key, s.id)
	if err != nil {
		return 0, err
	}
	in := bufio.NewReaderSize(s.content.Open(), chunk+1)
	plain, total := make([]byte, chunk), int64(0)
	for n := uint64(0); ; n++ {
		piece, last, err := next(in, plain)
		if err != nil {
			return total, err
		}
		written, err := w.Write(gcm.Seal(nil, nonce(n, last), piece, nil))
		total += int64(written)
		if err != nil || last {
			return total, err
		}
	}
}

// next reads up to a whole buffer, and says whether nothing is left behind it.
func next(in *bufio.Reader, buffer []byte) (piece []byte, last bool, err error) {
	n, err := io.ReadFull(in, buffer)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, false, err
	}
	_, err = in.Peek(1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	return buffer[:n], err != nil, nil
}

// unseal opens a sealed message, and closes the one that it was given. What is over mail.MemoryLimit goes to a file
// without a name.
func (q *Quarantine) unseal(s stored, sealed *mail.Message) (_ *mail.Message, err error) {
	defer func() { err = errors.Join(err, sealed.Close()) }()
	var key []byte
	for _, k := range q.keys {
		if keyID(k) == s.Sealed.KeyID {
			key = k
		}
	}
	if key == nil || s.Sealed.Version != 1 {
		return nil, fmt.Errorf("%s: %w", s.ID, ErrKey)
	}
	gcm, err := s.Sealed.cipher(key, s.ID)
	if err != nil {
		return nil, err
	}
	spool := mail.Spool{Dir: q.dir}
	in := bufio.NewReaderSize(sealed.Open(), chunk+gcm.Overhead()+1)
	buffer := make([]byte, chunk+gcm.Overhead())
	for n := uint64(0); ; n++ {
		piece, last, err := next(in, buffer)
		if err != nil {
			spool.Discard()
			return nil, err
		}
		plain, err := gcm.Open(piece[:0], nonce(n, last), piece, nil)
		if err == nil {
			_, err = spool.Write(plain)
		} else {
			err = fmt.Errorf("%s: %w", s.ID, ErrDamaged)
		}
		if err != nil {
			spool.Discard()
			return nil, err
		}
		if last {
			return spool.Finish()
		}
	}
}

// LoadKey reads a key from a file, and makes it of chance if there is no such file. The file has 64 hexadecimal digits and
// is readable by its owner only. Whoever loses it loses the messages that were sealed with it.
func LoadKey(path string) ([]byte, error) {
	for range 2 {
		text, err := os.ReadFile(path)
		if err == nil {
			key, err := hex.DecodeString(string(bytes.TrimSpace(text)))
			if err != nil || len(key) != KeySize {
				return nil, fmt.Errorf("%s is no key: it must have %d hexadecimal digits", filepath.Base(path), 2*KeySize)
			}
			return key, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("key: %w", err)
		}
		if err := makeKey(path); err != nil {
			return nil, fmt.Errorf("key: %w", err)
		}
	}
	return nil, fmt.Errorf("key: %s can't be made", filepath.Base(path))
}

// makeKey writes a new key so that of two programs that do so at once both get the same one.
func makeKey(path string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	key := make([]byte, KeySize)
	_, _ = rand.Read(key) // never fails: crypto/rand ends the program instead
	_, err = f.WriteString(hex.EncodeToString(key) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return mail.SyncDir(filepath.Dir(path))
}
