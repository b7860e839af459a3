package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode"

	"postern/internal/mail"
	"postern/internal/sqldb"
)

// Errors of a Store.
var (
	ErrToken        = errors.New("the token is none of ours, or has expired")
	ErrUnknownToken = errors.New("there is no such token: one goes by its id, which the list of tokens shows")
)

// Token is what is known of a token: all but itself.
type Token struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Role      Role      `json:"role"`
	Domains   []string  `json:"domains,omitempty"`
	Addresses []string  `json:"addresses,omitempty"`
	Created   time.Time `json:"created"`
	Expires   time.Time `json:"expires,omitzero"`
}

// Act is one record of the audit log.
type Act struct {
	Time time.Time `json:"time"`
	Who  string    `json:"who"`
	Role Role      `json:"role"`
	// From is the interface used, "" in records from before it was kept.
	From   Origin `json:"from,omitempty"`
	Client string `json:"client,omitempty"`
	// Verb is that of the table, Name the command that does the same.
	Verb    string `json:"verb"`
	Name    string `json:"name,omitempty"`
	What    string `json:"what,omitempty"`
	Outcome string `json:"outcome"`
}

// Store keeps tokens and the audit log.
type Store struct {
	db  *sqldb.DB
	log *slog.Logger
}

func schema() sqldb.Schema {
	const text = `CREATE TABLE api_token (
	id TEXT PRIMARY KEY, hash TEXT NOT NULL, name TEXT NOT NULL, role TEXT NOT NULL, domains TEXT NOT NULL, addresses TEXT NOT NULL,
	created BIGINT NOT NULL, expires BIGINT NOT NULL);
CREATE TABLE act (
	n INTEGER PRIMARY KEY%s, time BIGINT NOT NULL, who TEXT NOT NULL, role TEXT NOT NULL, client TEXT NOT NULL,
	verb TEXT NOT NULL, what TEXT NOT NULL, outcome TEXT NOT NULL);
CREATE INDEX act_time ON act (time)`
	const origin = "ALTER TABLE act ADD COLUMN origin TEXT NOT NULL DEFAULT ''"
	return sqldb.Schema{Name: "admin", SQLite: []string{fmt.Sprintf(text, " AUTOINCREMENT"), origin}, Postgres: []string{fmt.Sprintf(text, " GENERATED ALWAYS AS IDENTITY"), origin}}
}

// OpenStore opens the store in the database that a URL or path names.
func OpenStore(where string, log *slog.Logger) (*Store, error) {
	db, err := sqldb.Connect(where, sqldb.Full, schema())
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	return &Store{db, log}, nil
}

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }

// tokenPrefix begins every token, so that a leaked one is recognised.
const tokenPrefix = "postern_"

// tokenID is the part of a token that names it, cut to what can be one.
func tokenID(token string) string {
	id, _, _ := strings.Cut(strings.TrimPrefix(token, tokenPrefix), "_")
	return id[:min(len(id), 16)]
}

// hashOf is how a token is kept: it is random and long, so that a plain hash can't be turned back.
func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// Add makes a token. It is given once and kept as a hash.
func (s *Store) Add(ctx context.Context, t Token) (Token, string, error) {
	if !slices.Contains(Roles(), t.Role) {
		return t, "", BadRequest("%q is no role: write admin, domain-admin, helpdesk, auditor or user", t.Role)
	}
	if t.Name == "" || len(t.Name) > 100 || strings.ContainsFunc(t.Name, unicode.IsControl) {
		return t, "", BadRequest("name the token, in up to 100 characters")
	}
	if (t.Role == DomainAdmin) != (len(t.Domains) > 0) || (t.Role == User) != (len(t.Addresses) > 0) {
		return t, "", BadRequest("a domain-admin has domains, a user has addresses, others have neither")
	}
	for i, d := range t.Domains {
		if !mail.ValidDomain(d) {
			return t, "", BadRequest("%q is no domain", d)
		}
		t.Domains[i] = mail.ASCIIDomain(d)
	}
	for i, a := range t.Addresses {
		address, err := mail.ParseAddress(a)
		if err != nil {
			return t, "", BadRequest("%q is no address", a)
		}
		t.Addresses[i] = address.Key()
	}
	secret, id := make([]byte, 32), make([]byte, 6)
	_, _ = rand.Read(secret) // it never fails
	_, _ = rand.Read(id)
	t.ID = hex.EncodeToString(id)
	token := tokenPrefix + t.ID + "_" + base64.RawURLEncoding.EncodeToString(secret)
	expires := int64(0)
	if !t.Expires.IsZero() {
		expires = t.Expires.UnixMilli()
	}
	err := s.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, s.db.Bind("INSERT INTO api_token (id, hash, name, role, domains, addresses, created, expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"),
			t.ID, hashOf(token), t.Name, string(t.Role), strings.Join(t.Domains, " "), strings.Join(t.Addresses, "\n"), t.Created.UnixMilli(), expires)
		return err
	})
	return t, token, err
}

// Open gives the caller of a token; ErrToken if it is invalid.
func (s *Store) Open(ctx context.Context, token string, now time.Time) (Caller, error) {
	if len(token) > 200 || !strings.HasPrefix(token, tokenPrefix) {
		return Caller{}, ErrToken
	}
	all, hashes, err := s.tokens(ctx, "WHERE id = ?", tokenID(token))
	if err != nil {
		return Caller{}, err
	}
	if len(all) != 1 || subtle.ConstantTimeCompare([]byte(hashes[0]), []byte(hashOf(token))) != 1 {
		return Caller{}, ErrToken
	}
	t := all[0]
	if !t.Expires.IsZero() && !now.Before(t.Expires) {
		return Caller{}, ErrToken
	}
	return Caller{Name: t.Name, Role: t.Role, Domains: t.Domains, Addresses: t.Addresses}, nil
}

// Tokens are all tokens, the newest first.
func (s *Store) Tokens(ctx context.Context) ([]Token, error) {
	all, _, err := s.tokens(ctx, "ORDER BY created DESC, id")
	return all, err
}

func (s *Store) tokens(ctx context.Context, where string, args ...any) ([]Token, []string, error) {
	rows, err := s.db.Query(ctx, "SELECT id, hash, name, role, domains, addresses, created, expires FROM api_token "+where, args...)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = rows.Close() }() // reading only; Err tells what matters
	all, hashes := []Token{}, []string{}
	for rows.Next() {
		var t Token
		var hash, domains, addresses string
		var created, expires int64
		if err := rows.Scan(&t.ID, &hash, &t.Name, &t.Role, &domains, &addresses, &created, &expires); err != nil {
			return nil, nil, err
		}
		t.Domains, t.Created = strings.Fields(domains), time.UnixMilli(created).UTC()
		if addresses != "" {
			t.Addresses = strings.Split(addresses, "\n")
		}
		if expires > 0 {
			t.Expires = time.UnixMilli(expires).UTC()
		}
		all, hashes = append(all, t), append(hashes, hash)
	}
	return all, hashes, rows.Err()
}

// Remove takes a token away.
func (s *Store) Remove(ctx context.Context, id string) error {
	gone := int64(0)
	err := s.db.Write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, s.db.Bind("DELETE FROM api_token WHERE id = ?"), id)
		if err == nil {
			gone, err = r.RowsAffected()
		}
		return err
	})
	if err == nil && gone == 0 {
		return ErrUnknownToken
	}
	return err
}

// maxWhat bounds the texts of an act, in octets.
const maxWhat = 500

// note records an act. It never delays the caller for long; acts that can't be stored are logged.
func (s *Store) note(ctx context.Context, a Act) {
	s.log.Info("act", "who", a.Who, "role", string(a.Role), "from", string(a.From), "verb", a.Verb, "what", cut(a.What), "outcome", a.Outcome)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := s.Note(ctx, a); err != nil {
		s.log.Error("the log of acts", "error", err)
	}
}

// Note records an act that did not come through the table: what users do by links in digests.
func (s *Store) Note(ctx context.Context, a Act) error {
	return s.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, s.db.Bind("INSERT INTO act (time, who, role, origin, client, verb, what, outcome) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"),
			a.Time.UnixMilli(), cut(a.Who), string(a.Role), string(a.From), a.Client, cut(a.Verb), cut(a.What), cut(a.Outcome))
		return err
	})
}

func cut(text string) string {
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "?")
	return strings.ToValidUTF8(text[:min(len(text), maxWhat)], "")
}

// Acts are what was done, the newest first.
func (s *Store) Acts(ctx context.Context, limit int) ([]Act, error) {
	rows, err := s.db.Query(ctx, "SELECT time, who, role, origin, client, verb, what, outcome FROM act ORDER BY n DESC LIMIT ?", limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // reading only; Err tells what matters
	all := []Act{}
	for rows.Next() {
		var a Act
		var at int64
		if err := rows.Scan(&at, &a.Who, &a.Role, &a.From, &a.Client, &a.Verb, &a.What, &a.Outcome); err != nil {
			return nil, err
		}
		a.Time = time.UnixMilli(at).UTC()
		all = append(all, a)
	}
	return all, rows.Err()
}
