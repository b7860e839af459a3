package api

import (
	"reflect"
	"slices"
	"strings"
)

// seen is what one role may see of one kind of record: the names of fields as they stand in JSON, of a record within
// the record with a dot. What is not named is not shown, so that a field added later is not disclosed by default.
type seen struct {
	record string
	role   Role
	names  string
}

// The kinds of records.
const (
	recordMessage  = "message"
	recordHeld     = "held message"
	recordEntry    = "list entry"
	recordCampaign = "campaign"
	recordReleased = "release"
	recordPassword = "app password"
)

// fields is the table of what callers may see who do not see everything.
func fields() []seen {
	const (
		message = `id conn_id kind time door client user outbound from size subject message_id header_from sha256 decisive policy_version reply held_id done
			recipients.address recipients.disposition recipients.fate recipients.score recipients.required recipients.decisive recipients.reply recipients.route recipients.became
			fates.message fates.item fates.time fates.recipient fates.word fates.reply fates.note fates.by
			findings.symbol findings.score findings.help `
		held = `id time from recipients route outbound client user reason score policy_version subject header_from message_id size category link_domain attachment_hash campaign expires
			fetched.backend fetched.mailbox fetched.protocol fetched.sha256 state by standings.address standings.state standings.by standings.at standings.forward
			reasons.symbol reasons.score reasons.help `
		entry    = "id list scope scope_of sender network recipient unauthenticated owner reason created expires hits last_hit monitored"
		campaign = "key messages recipients first last subject"
		released = "id recipients learned allowed answers.recipient answers.fate answers.reply answers.text note"
	)
	return []seen{
		{recordMessage, DomainAdmin, message + "client_name helo took queue_ids findings.evidence"},
		{recordMessage, User, message},
		{recordHeld, DomainAdmin, held + "params reasons.evidence"},
		{recordHeld, User, held},
		{recordEntry, DomainAdmin, entry}, {recordEntry, User, entry},
		{recordCampaign, DomainAdmin, campaign}, {recordCampaign, User, campaign},
		{recordReleased, DomainAdmin, released}, {recordReleased, User, released},
		{recordPassword, User, "user name protocols created"},
	}
}

// sees gives what a caller may see of a record.
func sees[T any](c Caller, record string, v T) T {
	if c.all() {
		return v
	}
	for _, f := range fields() {
		if f.record == record && f.role == c.Role {
			return only(v, strings.Fields(f.names))
		}
	}
	var nothing T
	return nothing
}

// only gives a copy of a struct with the named fields only.
func only[T any](v T, names []string) T {
	var kept T
	keep(reflect.ValueOf(&kept).Elem(), reflect.ValueOf(&v).Elem(), names)
	return kept
}

func keep(to, from reflect.Value, names []string) {
	for i := range from.NumField() {
		field := from.Type().Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Anonymous && name == "": // its fields are the record's own
			keep(to.Field(i), from.Field(i), names)
		case slices.Contains(names, name):
			to.Field(i).Set(from.Field(i))
		default:
			keepWithin(to.Field(i), from.Field(i), below(names, name))
		}
	}
}

// keepWithin copies the named fields of records within a record: a list of them, or one that may not be there.
func keepWithin(to, from reflect.Value, names []string) {
	switch {
	case len(names) == 0:
	case from.Kind() == reflect.Slice && !from.IsNil():
		to.Set(reflect.MakeSlice(from.Type(), from.Len(), from.Len()))
		for i := range from.Len() {
			keep(to.Index(i), from.Index(i), names)
		}
	case from.Kind() == reflect.Pointer && !from.IsNil():
		to.Set(reflect.New(from.Type().Elem()))
		keep(to.Elem(), from.Elem(), names)
	case from.Kind() == reflect.Struct:
		keep(to, from, names)
	}
}

// below gives the rest of the names that begin with a record's.
func below(names []string, record string) (rest []string) {
	for _, name := range names {
		if inner, ok := strings.CutPrefix(name, record+"."); ok {
			rest = append(rest, inner)
		}
	}
	return rest
}
