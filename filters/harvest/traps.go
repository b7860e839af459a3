package harvest

import (
	"context"

	"postern/filters"
	"postern/internal/mail"
	"postern/internal/state"
)

// trapped reports at RCPT that a recipient is a trap, at MAIL that the client has written to one before.
func (f *filter) trapped(ctx context.Context, tx *mail.Transaction) []filters.Finding {
	if len(f.traps) == 0 || tx.Session.Outbound() {
		return nil
	}
	switch tx.Stage {
	case mail.StageMail:
		return f.remembered(ctx, tx.Session)
	case mail.StageRcpt:
		to := filters.LastRecipient(tx)
		if !f.isTrap(to) {
			return nil
		}
		f.remember(ctx, tx)
		return []filters.Finding{{Symbol: "SPAMTRAP", Evidence: filters.Printable(to.String())}}
	default: // no other stage tells of a trap
		return nil
	}
}

func (f *filter) isTrap(a mail.Address) bool {
	return f.traps[a.Key()] || f.traps["@"+a.ASCIIDomain()]
}

// remember counts it against the client. Not for a bounce, as the forger is elsewhere; nor for a client with a good
// reputation: a large service has some bad users.
func (f *filter) remember(ctx context.Context, tx *mail.Transaction) {
	client := tx.Session.Client
	if tx.From.IsNull() || !filters.Public(client) || filters.GoodClient(ctx, f.env.State, client) {
		return
	}
	f.env.State.Put(ctx, state.Key(kindTrap, filters.ClientKey(client)), []byte{1}, f.settings.TrapMemory.Std())
	f.env.State.Put(ctx, state.Key(kindTrap, "network", filters.NetworkKey(client)), []byte{1}, f.settings.TrapMemory.Std())
}

func (f *filter) remembered(ctx context.Context, s *mail.Session) []filters.Finding {
	if !filters.Public(s.Client) {
		return nil
	}
	client, network := filters.ClientKey(s.Client), filters.NetworkKey(s.Client)
	if _, ok := f.env.State.Get(ctx, state.Key(kindTrap, client)); ok {
		return []filters.Finding{{Symbol: "SPAMTRAP_CLIENT", Evidence: client}}
	}
	if _, ok := f.env.State.Get(ctx, state.Key(kindTrap, "network", network)); ok {
		return []filters.Finding{{Symbol: "SPAMTRAP_NETWORK", Evidence: network}}
	}
	return nil
}
