package config

// ReportAddresses take mail from inside alone, and learn from the messages attached to it.
type ReportAddresses struct {
	Spam []string `toml:"spam"`
	Ham  []string `toml:"ham"`
	// Trusted senders' reports count at once, those of others once several say the same.
	Trusted []string `toml:"trusted"`
}
