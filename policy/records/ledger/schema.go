package ledger

import "postern/internal/sqldb"

// Both databases have the same tables. n is a record's time in milliseconds with 21 bits of its id behind, so that it
// tells records apart and sorts them by time: all that is asked for in the order of time goes along the primary key.
// Terms are indexed beside it, by FTS5 without a copy of the text, or by GIN.
func schema() sqldb.Schema {
	return sqldb.Schema{
		Name: "ledger",
		SQLite: []string{
			"SELECT 1", // the first form had no full text; no release wrote it
			`
DROP TABLE IF EXISTS symbol;
DROP TABLE IF EXISTS recipient;
DROP TABLE IF EXISTS message;
DROP TABLE IF EXISTS connection;

CREATE TABLE message (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, conn TEXT NOT NULL, record BLOB NOT NULL);
CREATE INDEX message_conn ON message (conn);
CREATE VIRTUAL TABLE message_terms USING fts5 (terms, content='', contentless_delete=1, detail=none, tokenize="ascii tokenchars '_'");

CREATE TABLE connection (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, conn TEXT NOT NULL, record BLOB NOT NULL);
CREATE VIRTUAL TABLE connection_terms USING fts5 (terms, content='', contentless_delete=1, detail=none, tokenize="ascii tokenchars '_'");

CREATE TABLE mark (name TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
`, `
CREATE TABLE fate (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, conn TEXT NOT NULL, record BLOB NOT NULL);
CREATE INDEX fate_conn ON fate (conn);
CREATE VIRTUAL TABLE fate_terms USING fts5 (terms, content='', contentless_delete=1, detail=none, tokenize="ascii tokenchars '_'");
`},
		Postgres: []string{`
CREATE TABLE message (n bigint PRIMARY KEY, id text COLLATE "C" NOT NULL UNIQUE, conn text COLLATE "C" NOT NULL, record bytea NOT NULL, terms tsvector NOT NULL);
CREATE INDEX message_conn ON message (conn);
CREATE INDEX message_terms ON message USING gin (terms);

CREATE TABLE connection (n bigint PRIMARY KEY, id text COLLATE "C" NOT NULL UNIQUE, conn text COLLATE "C" NOT NULL, record bytea NOT NULL, terms tsvector NOT NULL);
CREATE INDEX connection_terms ON connection USING gin (terms);

CREATE TABLE mark (name text PRIMARY KEY, n bigint NOT NULL);
`, `
CREATE TABLE fate (n bigint PRIMARY KEY, id text COLLATE "C" NOT NULL UNIQUE, conn text COLLATE "C" NOT NULL, record bytea NOT NULL, terms tsvector NOT NULL);
CREATE INDEX fate_conn ON fate (conn);
CREATE INDEX fate_terms ON fate USING gin (terms);
`},
	}
}
