package access

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/argon2"

	"postern/internal/mail"
)

// AppPassword is one password of a user for one device. The file holds no password: a mark made with argon2id (RFC
// 9106), and, if the backend has no master user, the real password sealed with a key that only the app password gives.
type AppPassword struct {
	User string `json:"user"`
	Name string `json:"name"`
	// Protocols are those it is good for, empty for all.
	Protocols []mail.Protocol `json:"protocols,omitempty"`
	Created   time.Time       `json:"created"`
	Salt      []byte          `json:"salt"`
	Mark      []byte          `json:"mark"`
	Sealed    []byte          `json:"sealed,omitempty"`
}

// AppPasswords is the file with the app passwords. The gateway reads it again when it has changed.
type AppPasswords struct {
	file string
	// Only refuses other passwords of users who have an app password.
	only bool

	now    func() time.Time
	mu     sync.Mutex
	looked time.Time // when the file was last looked at
	failed error     // what that gave
	read   time.Time // the file's time when it was read
	size   int64
	byUser map[string][]AppPassword
	busy   chan struct{} // bounds the memory that argon2id takes at a time
}

// OpenAppPasswords makes the store of a file, which need not be there yet.
func OpenAppPasswords(file string, only bool) *AppPasswords {
	return &AppPasswords{file: file, only: only, now: time.Now, busy: make(chan struct{}, 2)}
}

// Found is the store's answer about a password.
type Found struct {
	// OK says that it is an app password, with this Name. Password is the real one if it is kept.
	OK             bool
	Name, Password string
	// Only says that the user may log in with app passwords only.
	Only bool
}

// An app password is 20 letters of base32, written in groups of five: 100 bits.
const appPasswordLetters = 20

// plainAppPassword takes the hyphens and spaces out that people type, "" if it can't be an app password.
func plainAppPassword(password string) string {
	if len(password) > 64 {
		return ""
	}
	letters := strings.ToLower(strings.NewReplacer("-", "", " ", "").Replace(password))
	if len(letters) != appPasswordLetters || strings.Trim(letters, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		return ""
	}
	return letters
}

// Check looks whether a password is one of the user's app passwords.
func (a *AppPasswords) Check(ctx context.Context, user, password string, protocol mail.Protocol) (Found, error) {
	all, err := a.of(user)
	if err != nil || len(all) == 0 {
		return Found{}, err
	}
	found := Found{Only: a.only}
	plain := plainAppPassword(password)
	if plain == "" {
		return found, nil
	}
	select {
	case a.busy <- struct{}{}:
		defer func() { <-a.busy }()
	case <-ctx.Done():
		return found, ctx.Err()
	}
	for _, p := range all {
		mark, seal := derive(plain, p.Salt)
		if subtle.ConstantTimeCompare(mark, p.Mark) != 1 || len(p.Protocols) > 0 && !slices.Contains(p.Protocols, protocol) {
			continue
		}
		found.OK, found.Name = true, p.Name
		if len(p.Sealed) > 0 {
			found.Password, err = unseal(seal, p.Sealed)
		}
		return found, err
	}
	return found, nil
}

// derive makes the mark and the key of a password: argon2id with 19 MiB and two passes, the second recommendation of
// RFC 9106 section 4 scaled down to what a gateway can spend on each of many logins.
func derive(password string, salt []byte) (mark, seal []byte) {
	k := argon2.IDKey([]byte(password), salt, 2, 19<<10, 1, 64)
	return k[:32], k[32:]
}

func sealer(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func unseal(key, sealed []byte) (string, error) {
	c, err := sealer(key)
	if err != nil || len(sealed) < c.NonceSize() {
		return "", errors.Join(err, errors.New("a sealed password is cut short"))
	}
	plain, err := c.Open(nil, sealed[:c.NonceSize()], sealed[c.NonceSize():], nil)
	return string(plain), err
}

// Add makes an app password and gives it: it is shown once and never again. With real, the user's real password, the
// backend needs no master user.
func (a *AppPasswords) Add(user, name, real string, protocols []mail.Protocol, now time.Time) (string, error) {
	user = key(user)
	if !plainName(user) || !plainName(name) {
		return "", errors.New("user and name must be plain text")
	}
	secret, salt := make([]byte, 13), make([]byte, 16)
	_, _ = rand.Read(secret) // it never fails
	_, _ = rand.Read(salt)
	letters := strings.ToLower(base32.StdEncoding.EncodeToString(secret))[:appPasswordLetters]
	p := AppPassword{User: user, Name: name, Protocols: protocols, Created: now.UTC(), Salt: salt}
	mark, seal := derive(letters, salt)
	p.Mark = mark
	if real != "" {
		c, err := sealer(seal)
		if err != nil {
			return "", err
		}
		nonce := make([]byte, c.NonceSize())
		_, _ = rand.Read(nonce)
		p.Sealed = c.Seal(nonce, nonce, []byte(real), nil)
	}
	err := a.change(func(all []AppPassword) ([]AppPassword, error) {
		if slices.ContainsFunc(all, func(o AppPassword) bool { return o.User == user && o.Name == name }) {
			return nil, fmt.Errorf("%s has an app password %q already: take another name, or remove it first", user, name)
		}
		return append(all, p), nil
	})
	return letters[:5] + "-" + letters[5:10] + "-" + letters[10:15] + "-" + letters[15:], err
}

// ErrNoAppPassword is the error of Remove.
var ErrNoAppPassword = errors.New("there is no such app password")

// Remove takes an app password away; with an empty name, all of the user's.
func (a *AppPasswords) Remove(user, name string) error {
	user = key(user)
	return a.change(func(all []AppPassword) ([]AppPassword, error) {
		left := slices.DeleteFunc(slices.Clone(all), func(o AppPassword) bool { return o.User == user && (name == "" || o.Name == name) })
		if len(left) == len(all) {
			return nil, ErrNoAppPassword
		}
		return left, nil
	})
}

// List gives all app passwords, of one user or of all, without what is secret.
func (a *AppPasswords) List(user string) ([]AppPassword, error) {
	all, err := a.load()
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(o AppPassword) bool { return user != "" && o.User != key(user) })
	for i := range all {
		all[i].Salt, all[i].Mark, all[i].Sealed = nil, nil, nil
	}
	return all, nil
}

// of gives the user's app passwords, from a file that is read again when it has changed.
func (a *AppPasswords) of(user string) ([]AppPassword, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now := a.now(); now.Sub(a.looked) >= lookEvery || now.Before(a.looked) {
		a.looked, a.failed = now, a.look()
	}
	return a.byUser[user], a.failed
}

// lookEvery is how often the file is looked at: not for each of many logins.
const lookEvery = time.Second

// look reads the file if it has changed.
func (a *AppPasswords) look() error {
	at, err := os.Stat(a.file)
	if errors.Is(err, fs.ErrNotExist) {
		a.byUser = nil
		return nil
	}
	if err != nil {
		return err
	}
	if a.byUser != nil && at.ModTime().Equal(a.read) && at.Size() == a.size {
		return nil
	}
	all, err := a.load()
	if err != nil {
		return err
	}
	a.byUser, a.read, a.size = map[string][]AppPassword{}, at.ModTime(), at.Size()
	for _, p := range all {
		a.byUser[p.User] = append(a.byUser[p.User], p)
	}
	return nil
}

func (a *AppPasswords) load() ([]AppPassword, error) {
	text, err := os.ReadFile(a.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []AppPassword
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", a.file, err)
	}
	return all, nil
}

// change writes the file anew, whole or not at all.
func (a *AppPasswords) change(f func([]AppPassword) ([]AppPassword, error)) (err error) {
	all, err := a.load()
	if err != nil {
		return err
	}
	if all, err = f(all); err != nil {
		return err
	}
	text, err := json.MarshalIndent(all, "", "\t")
	if err != nil {
		return err
	}
	dir := filepath.Dir(a.file)
	temp, err := os.CreateTemp(dir, ".app-passwords-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp.Name()) // the error that counts is given already
		}
	}()
	_, err = temp.Write(append(text, '\n'))
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	if err = os.Rename(temp.Name(), a.file); err != nil {
		return err
	}
	a.mu.Lock()
	a.looked = time.Time{}
	a.mu.Unlock()
	return mail.SyncDir(dir)
}
