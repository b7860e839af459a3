package filters

import "postern/internal/mail"

// campaignKey is the key under which a message keeps the name of its campaign.
type campaignKey struct{}

// SetCampaign says which campaign a message belongs to. The first call holds.
func SetCampaign(m *mail.Message, name string) { m.Derive(campaignKey{}, func() any { return name }) }

// CampaignOf is the name of the campaign that a message belongs to, "" if nobody knows.
func CampaignOf(m *mail.Message) string {
	return m.Derive(campaignKey{}, func() any { return "" }).(string)
}
