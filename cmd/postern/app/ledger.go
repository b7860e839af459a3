package app

import (
	"log/slog"
	"path/filepath"
	"time"

	"postern/internal/config"
	"postern/policy/records/ledger"
)

// openLedger opens the ledger of a running gateway.
func openLedger(cfg *config.Config, out Outside) (*ledger.Ledger, error) {
	o, err := ledgerOptions(cfg)
	if err != nil {
		return nil, err
	}
	o.Log, o.Now = out.Log, out.Now
	o.Spill, o.SpillRoom = filepath.Join(cfg.DataDir, "ledger-waiting"), int64(cfg.Ledger.Waiting)
	return ledger.New(o)
}

// ReadLedger opens the ledger for commands that look into it beside a running gateway.
func ReadLedger(cfg *config.Config, log *slog.Logger) (*ledger.Ledger, error) {
	o, err := ledgerOptions(cfg)
	if err != nil {
		return nil, err
	}
	o.Log = log
	return ledger.New(o)
}

func ledgerOptions(cfg *config.Config) (ledger.Options, error) {
	o := ledger.Options{URL: cfg.LedgerURL(), Privacy: ledger.Privacy{
		Subjects: ledger.Subjects(cfg.Ledger.Subjects), MaskAfter: time.Duration(cfg.Ledger.MaskAddresses)}}
	if o.Privacy.Subjects != ledger.SubjectsHashed {
		return o, nil
	}
	key, err := keyFile(filepath.Join(cfg.DataDir, "subjects.key"))
	o.Privacy.Key = key
	return o, err
}
