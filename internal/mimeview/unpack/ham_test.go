package unpack

import (
	"bytes"
	"io"
	"mime"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-message"
)

// TestHam walks over all attachments of a corpus of honest mail, the folder that POSTERN_CORPUS names, and counts what
// is flagged. Nothing in it may look like an attack.
func TestHam(t *testing.T) {
	corpus := os.Getenv("POSTERN_CORPUS")
	if corpus == "" {
		t.Skip("POSTERN_CORPUS is not set")
	}
	files, err := filepath.Glob(filepath.Join(corpus, "ham", "*"))
	must(t, err)
	message.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	parts := 0
	flags, types, notes := map[Kind]int{}, map[string]int{}, map[string]int{}
	var longest time.Duration
	for _, file := range files {
		raw, err := os.ReadFile(file)
		must(t, err)
		if bytes.HasPrefix(raw, []byte("From ")) { // of an mbox
			raw = raw[bytes.IndexByte(raw, '\n')+1:]
		}
		e, _ := message.Read(bytes.NewReader(raw)) // what can't be read is not this test's
		if e == nil {
			continue
		}
		_ = e.Walk(func(_ []int, e *message.Entity, err error) error {
			kind, typeParams, _ := e.Header.ContentType()
			if err != nil || strings.HasPrefix(kind, "multipart/") {
				return nil
			}
			_, params, _ := e.Header.ContentDisposition()
			var names []string
			for _, n := range []string{params["filename"], typeParams["name"]} {
				if n, err := new(mime.WordDecoder).DecodeHeader(n); err == nil && n != "" {
					names = append(names, n)
				}
			}
			content, _ := io.ReadAll(e.Body)
			parts++
			start := time.Now()
			got := walkWith(Options{}, content, names...)
			longest = max(longest, time.Since(start))
			for _, o := range got.objects {
				for _, f := range o.Flags {
					if f.Kind != URI {
						t.Logf("%s %q %s: %s %.100q", filepath.Base(file), o.Path, o.Types[0].Name, f.Kind, f.Detail)
					}
				}
				for _, k := range kindsOf(o) {
					flags[k]++
				}
				types[o.Types[0].Name]++
			}
			for _, n := range slices.Concat(got.Limits, got.Unscannable, got.Encrypted) {
				notes[n]++
			}
			return nil
		})
	}
	t.Logf("%d messages, %d parts, slowest part %v\nflags %v\ntypes %v\nnotes %v", len(files), parts, longest, flags, types, notes)
	for _, k := range []Kind{NameTypeMismatch, DoubleExtension, BidiName, HTMLSmuggling, EICAR, PDFLaunch, OverlappingEntries, ManyEOCD, LyingSize} {
		if flags[k] > 0 {
			t.Errorf("%s on honest mail: %d", k, flags[k])
		}
	}
}

func kindsOf(o *Object) []Kind {
	var all []Kind
	for _, f := range o.Flags {
		if !slices.Contains(all, f.Kind) {
			all = append(all, f.Kind)
		}
	}
	return all
}
