package quarantine

import (
	"database/sql"
	"testing"
)

// older makes an index of the first form of today's one, in which one message is being released by ann.
func older(t *testing.T, path string, ids []string, releasing string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	do := func(text string, args ...any) {
		t.Helper()
		if _, err := db.Exec(text, args...); err != nil {
			t.Fatal(err)
		}
	}
	do("ALTER TABLE item RENAME TO newer")
	do("DROP TABLE recipient")
	for _, name := range []string{"time", "state", "campaign", "expires", "sender", "sender_domain", "author", "author_domain", "form"} {
		do("DROP INDEX item_" + name)
	}
	do(migrations()[0])
	for _, id := range ids {
		state, by := "held", ""
		if id == releasing {
			state, by = "releasing", "ann"
		}
		do("INSERT INTO item SELECT id, time, ?, ?, meta FROM newer WHERE id = ?", state, by, id)
	}
	do("DROP TABLE newer")
	do("PRAGMA user_version = 1")
}
