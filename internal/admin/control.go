package admin

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"

	"postern/filters"
)

// Shelves are what the running gateway remembers and an admin may correct, by name. They are asked for with each
// request, as a reload replaces them.
type Shelves func() map[string]filters.Shelf

// Control is the interface of the running gateway for the CLI, served at a socket that only the gateway's own user can
// open:
//
//	GET  /v1/shelf/NAME?most=N       its rows, a JSON array
//	POST /v1/shelf/NAME/VERB?key=K   204, 404 if there is no such row
//	POST /v1/reload                  204, or 409 and why the old settings stay
//	POST /v1/flush                   204 once every record that waits is written
func Control(shelves Shelves, reload func() error, flush func(context.Context) error, log *slog.Logger) http.Handler {
	c := control{shelves, log}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/shelf/{name}", c.list)
	mux.HandleFunc("POST /v1/shelf/{name}/{verb}", c.correct)
	mux.HandleFunc("POST /v1/reload", func(w http.ResponseWriter, _ *http.Request) {
		if err := reload(); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /v1/flush", func(w http.ResponseWriter, r *http.Request) {
		if err := flush(r.Context()); err != nil {
			c.fail(w, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

type control struct {
	shelves Shelves
	log     *slog.Logger
}

// mostRows bounds one answer.
const mostRows = 10_000

func (c control) list(w http.ResponseWriter, r *http.Request) {
	shelf, ok := c.shelves()[r.PathValue("name")]
	if !ok {
		http.Error(w, "the gateway has no such thing: the filter may be switched off", http.StatusNotFound)
		return
	}
	most, err := strconv.Atoi(r.URL.Query().Get("most"))
	if err != nil || most < 1 || most > mostRows {
		most = mostRows
	}
	rows, err := shelf.Kept(r.Context(), most)
	if err != nil {
		c.fail(w, err)
		return
	}
	if rows == nil {
		rows = []filters.Kept{}
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(rows); err != nil {
		c.log.Error("control", "error", err) // the client is gone
	}
}

func (c control) correct(w http.ResponseWriter, r *http.Request) {
	shelf, ok := c.shelves()[r.PathValue("name")]
	verb, key := r.PathValue("verb"), r.URL.Query().Get("key")
	if !ok || !slices.Contains(shelf.Verbs(), verb) {
		http.Error(w, filters.ErrUnknownVerb.Error(), http.StatusNotFound)
		return
	}
	if err := shelf.Correct(r.Context(), verb, key); err != nil {
		c.fail(w, err)
		return
	}
	c.log.Info("corrected by hand", "shelf", r.PathValue("name"), "verb", verb, "key", filters.Printable(key))
	w.WriteHeader(http.StatusNoContent)
}

func (c control) fail(w http.ResponseWriter, err error) {
	if errors.Is(err, filters.ErrNotKept) || errors.Is(err, filters.ErrUnknownVerb) {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	c.log.Error("control", "error", err)
	http.Error(w, "something went wrong, the log has the cause", http.StatusInternalServerError)
}
