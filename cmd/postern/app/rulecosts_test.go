package app

import (
	"testing"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/rules"
)

// What rules took is written down for `postern rules stats`; before a gateway has timed a message there is nothing.
func TestRuleCostsAreKept(t *testing.T) {
	cfg := config.Default()
	cfg.DataDir = t.TempDir()
	h := &App{cfg: cfg, out: Outside{RuleCosts: &rules.Costs{}}.withDefaults()}
	h.keepRuleCosts(t.Context())
	if r, err := RuleCosts(cfg); err != nil || r.Messages != 0 {
		t.Fatal(r, err)
	}
	set, _ := rules.Parse(rules.File{Name: "a.cf", Text: "body A_RULE /noon/\n"})
	for range 64 {
		set.Run(rules.Input{View: mimeview.Of(mail.NewMessage([]byte("From: a@b.example\r\n\r\nnoon\r\n"))), Costs: h.out.RuleCosts})
	}
	h.keepRuleCosts(t.Context())
	r, err := RuleCosts(cfg)
	if err != nil || r.Messages != 1 || r.Rules["A_RULE"].Confirmed != 1 {
		t.Errorf("%+v %v", r, err)
	}
}
