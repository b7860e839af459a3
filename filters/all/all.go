// Package all is the one list of filters. Its order is the order of findings; a filter stands behind those it waits for.
package all

import (
	"postern/filters"
	"postern/filters/arc"
	"postern/filters/attachments"
	"postern/filters/brands"
	"postern/filters/campaigns"
	"postern/filters/clamav"
	"postern/filters/classify"
	"postern/filters/command"
	"postern/filters/content"
	"postern/filters/correspondents"
	"postern/filters/dkim"
	"postern/filters/dmarc"
	"postern/filters/dnslists"
	"postern/filters/greylist"
	"postern/filters/harvest"
	"postern/filters/headers"
	"postern/filters/helo"
	"postern/filters/icap"
	"postern/filters/impersonation"
	"postern/filters/links"
	"postern/filters/lures"
	"postern/filters/mime"
	"postern/filters/opinion"
	"postern/filters/origin"
	"postern/filters/ratelimit"
	"postern/filters/reputation"
	"postern/filters/rspamd"
	"postern/filters/senderlogin"
	"postern/filters/signs"
	"postern/filters/spf"
	"postern/filters/strangers"
	"postern/rules"
)

// Specs gives the filters; the content filter works with these rules.
func Specs(set *rules.Set) []filters.Spec {
	return []filters.Spec{
		ratelimit.Spec,
		harvest.Spec,
		helo.Spec,
		spf.Spec,
		dkim.Spec,
		arc.Spec,
		dmarc.Spec,
		reputation.Spec,
		correspondents.Spec,
		senderlogin.Spec,
		headers.Spec,
		impersonation.Spec,
		brands.Spec,
		origin.Spec,
		mime.Spec,
		attachments.Spec,
		strangers.Spec, // weighs what attachments has found by what correspondents knows
		dnslists.Spec,  // asks about the links in attachments
		links.Spec,
		content.Spec(set),
		lures.Spec,
		campaigns.Spec,
		classify.Spec,
		signs.Spec, // adds up what all above have found
		opinion.Spec,
		clamav.Spec,
		icap.Spec,
		rspamd.Spec,
		command.Spec,
		greylist.Spec, // behind all that may find something odd
	}
}
