// Package attachments reports what is attached to a message and what is inside of it, by name and by content, in every
// reading of the message and at any depth of archives, documents and mails. Whether that is welcome is policy's word.
package attachments

import (
	"context"
	"encoding/hex"
	"fmt"
	"runtime"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/mimeview/contents"
	"postern/internal/mimeview/unpack/filetype"
)

// Settings are the filter's settings.
type Settings struct {
	// BlockExtensions and BlockTypes make an ATTACHMENT_EXECUTABLE besides what the content shows to be a program: names by
	// which a desktop runs a file, and media types, found or declared.
	BlockExtensions []string `toml:"block_extensions"`
	BlockTypes      []string `toml:"block_types"`
	// HashBlock are the SHA-256 sums, in hex, of contents that make an ATTACHMENT_HASH.
	HashBlock []string `toml:"hash_block"`
	// Outbound says what is looked for in the mail of our own users: "off", "executables" (and the test virus, and
	// hash_block) or "all".
	Outbound string `toml:"outbound"`
	// MaxDepth is how many archives may lie within each other, MaxFiles how many files there may be in all, MaxTotal and
	// MaxFile how many octets are unpacked of all and of one, MaxRatio how many octets one packed octet may give, Timeout
	// how long it may take (20s at most). Beyond is an ATTACHMENT_LIMIT.
	MaxDepth int             `toml:"max_depth"`
	MaxFiles int             `toml:"max_files"`
	MaxTotal config.Size     `toml:"max_total"`
	MaxFile  config.Size     `toml:"max_file"`
	MaxRatio int             `toml:"max_ratio"`
	Timeout  config.Duration `toml:"timeout"`
}

const longest = 20 * time.Second

func defaults() Settings {
	return Settings{
		// what Windows, macOS and Android start when it is opened, and what only programs are installed from; scripts,
		// shortcuts and disk images have symbols of their own
		BlockExtensions: filetype.WithDanger(filetype.Programs),
		BlockTypes:      []string{"application/vnd.ms-cab-compressed", "application/java-archive", "application/x-msdownload", "application/x-dosexec"},
		Outbound:        "executables", MaxDepth: 6, MaxFiles: 2000, MaxTotal: 200 << 20, MaxFile: 64 << 20, MaxRatio: 200, Timeout: config.Duration(longest),
	}
}

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:   "attachments",
	Help:   "Looks at the attachments and what is inside of them: programs, scripts, macros, archives that hide something.",
	Stages: mail.StageMessage, Content: true,
	Timeout:  longest + 10*time.Second,
	Symbols:  symbols(),
	Settings: func() any { s := defaults(); return &s },
	New: func(section config.Section, _ filters.Env) (filters.Filter, error) {
		s := defaults()
		if err := section.Decode(&s); err != nil {
			return nil, err
		}
		return newFilter(s)
	},
}

type filter struct {
	limits     contents.Limits
	outbound   string
	extensions map[string]bool
	types      map[string]bool
	hashes     map[[32]byte]bool
	// places bounds how many messages are taken apart at a time: each may need a few hundred megabytes for a moment, and
	// more of them than there are processors would not be done any sooner.
	places chan struct{}
}

// crowd is the size from which on a message needs a place, in octets: in less there is no room for much.
const crowd = 16 << 10

func newFilter(s Settings) (filters.Filter, error) {
	switch s.Outbound {
	case "off", "executables", "all":
	default:
		return nil, fmt.Errorf(`[filters.attachments]: outbound = %q: say "off", "executables" or "all"`, s.Outbound)
	}
	if min(int64(s.MaxDepth), int64(s.MaxFiles), int64(s.MaxTotal), int64(s.MaxFile), int64(s.MaxRatio)) < 1 {
		return nil, fmt.Errorf("[filters.attachments]: max_depth, max_files, max_total, max_file and max_ratio must be 1 or more")
	}
	if t := time.Duration(s.Timeout); t <= 0 || t > longest {
		return nil, fmt.Errorf("[filters.attachments]: timeout = %s: set more than 0s and at most %s", t, longest)
	}

	f := filter{places: make(chan struct{}, max(2, runtime.GOMAXPROCS(0))), outbound: s.Outbound, extensions: map[string]bool{}, types: map[string]bool{}, hashes: map[[32]byte]bool{}}
	f.limits = contents.Limits{Depth: s.MaxDepth, Entries: s.MaxFiles, Total: int64(s.MaxTotal), Entry: int64(s.MaxFile), Ratio: s.MaxRatio, Time: time.Duration(s.Timeout)}

	return f, f.block(s)
}

// block takes the names, types and hashes that are refused whatever is in them.
func (f filter) block(s Settings) error {
	for _, e := range s.BlockExtensions {
		if len(e) < 2 || e[0] != '.' {
			return fmt.Errorf("[filters.attachments]: block_extensions: %q: write it with its dot, as in \".exe\"", e)
		}
		f.extensions[strings.ToLower(e)] = true
	}
	for _, t := range s.BlockTypes {
		if !strings.Contains(t, "/") {
			return fmt.Errorf("[filters.attachments]: block_types: %q: write type and subtype, as in \"application/java-archive\"", t)
		}
		f.types[strings.ToLower(t)] = true
	}
	for _, h := range s.HashBlock {
		sum, err := hex.DecodeString(h)
		if err != nil || len(sum) != 32 {
			return fmt.Errorf("[filters.attachments]: hash_block: %q: write the SHA-256 in 64 hexadecimal digits", h)
		}
		f.hashes[[32]byte(sum)] = true
	}

	return nil
}

func (f filter) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	outbound := tx.Session.Outbound()
	if outbound && f.outbound == "off" {
		return nil, nil
	}
	if tx.Message.Size() >= crowd {
		select {
		case f.places <- struct{}{}:
			defer func() { <-f.places }()
		case <-ctx.Done():
			return nil, fmt.Errorf("too many messages are being taken apart: %w", ctx.Err())
		}
	}
	all := contents.Of(tx.Message)
	all.Bound(f.limits)
	found, err := all.Read(ctx)
	if err != nil {
		return nil, err
	}
	r := newReport(tx.Message)
	for _, i := range found.Items {
		f.one(r, i)
	}
	r.whole(found)
	return r.findings(outbound && f.outbound == "executables"), nil
}
