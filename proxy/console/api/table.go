package api

import "strings"

// heldVerbs are the verbs on held mail.
func heldVerbs() []Verb {
	releasers := []Role{Admin, DomainAdmin, Helpdesk, User}
	release := []param{{"allow", "boolean", "let the sender's mail in from now on, if it is authentic"}, {"learn", "boolean", "take it as a lesson; for spam that is so unless it is false"}}
	return []Verb{
		{Method: "GET", Path: "/quarantine", Help: "Held mail, the newest first.", Roles: everybody(), Query: heldParams(), do: (*call).heldList},
		{Method: "GET", Path: "/quarantine/{id}", Help: "One held message, and what became of each copy.", Roles: everybody(), do: (*call).heldOne},
		{Method: "GET", Path: "/quarantine/{id}/raw", Name: "quarantine export", Help: "The octets of one held message, for analysis elsewhere. Malicious software is for admins only.", Noted: true, Roles: releasers, do: (*call).raw},
		{Method: "POST", Path: "/quarantine/{id}/release", Name: "quarantine release", Help: "Deliver it once, as it came. It is not judged again. Malicious software is for admins only.", Roles: releasers, do: (*call).release,
			Body: append([]param{{"recipients", "array", "whose copies; all of yours that are held if left out"}, {"to", "string", "another address instead"}, {"wait", "boolean", "wait a few seconds for what the mail server answers, unless it is false"}}, release...)},
		{Method: "DELETE", Path: "/quarantine/{id}", Name: "quarantine delete", Help: "Throw a held message away for good, or what of it is the caller's.", Roles: releasers, do: (*call).unhold},
		{Method: "GET", Path: "/campaigns", Help: "Held mails that are alike, most of them first.", Roles: everybody(), Query: heldParams(), do: (*call).campaigns},
		{Method: "POST", Path: "/campaigns/{id}/release", Name: "quarantine campaigns release", Help: "Deliver what is held of a campaign; one request takes up to 500 messages.", Roles: releasers, Body: release, do: (*call).releaseCampaign},
		{Method: "DELETE", Path: "/campaigns/{id}", Name: "quarantine campaigns delete", Help: "Throw away what is held of a campaign; one request takes up to 500 messages.", Roles: releasers, do: (*call).deleteCampaign},
		{Method: "POST", Path: "/digests", Name: "digest send", Help: "Tell users by mail what is held for them, now, whatever the schedule says.", Roles: admins(), do: (*call).sendDigests,
			Body: []param{{"user", "string", "an address; all for whom something is held if left out"}, {"dry_run", "boolean", "only tell who would get one"}}},
		{Method: "POST", Path: "/sweeps", Name: "sweep", Help: "Move what was called back out of a user's mailboxes, by IMAP.", Roles: admins(), do: (*call).sweep,
			Body: []param{{"backend", "string", "the name of a [mail_backend]"}, {"user", "string", "the login"}, {"to", "string", "the mailbox that they are moved to"}, {"dry_run", "boolean", "only look"}}},
	}
}

// listVerbs are the verbs on lists, lessons and app passwords.
func listVerbs() []Verb {
	owners := []Role{Admin, DomainAdmin, User}
	texts := func(names string) (list []param) {
		for _, name := range strings.Fields(names) {
			list = append(list, param{name, "string", ""})
		}
		return list
	}
	return []Verb{
		{Method: "GET", Path: "/lists", Help: "Entries that allow or block senders, the newest first.", Roles: everybody(), Query: texts("list scope scope_of text unused limit after"), do: (*call).lists},
		{Method: "GET", Path: "/lists/{id}", Help: "One entry.", Roles: everybody(), do: (*call).listEntry},
		{Method: "POST", Path: "/lists", Name: "lists add", Help: "Allow or block a sender or a network; it holds within seconds. An entry allows proven senders only, unless an admin says otherwise.", Roles: owners, do: (*call).addEntry,
			Body: append(texts("list scope scope_of sender network recipient reason expires"), param{"unauthenticated", "boolean", "for senders whom nothing proves: admins only"}, param{"monitored", "boolean", "it decides nothing"})},
		{Method: "DELETE", Path: "/lists/{id}", Name: "lists remove", Help: "Take an entry out.", Roles: owners, do: (*call).unlist},
		{Method: "POST", Path: "/lists/import", Name: "lists import", Help: "Read the lists of another program.", Roles: admins(), do: (*call).importList,
			Body: append(texts("format text list scope scope_of reason"), param{"widen", "boolean", "take entries that hold for more here than there"}, param{"dry_run", "boolean", "only tell"})},
		{Method: "GET", Path: "/lessons", Help: "What users taught, the newest first.", Roles: readers(), Query: texts("user since limit"), do: (*call).lessons},
		{Method: "GET", Path: "/lessons/status", Help: "How many lessons there are.", Roles: readers(), do: (*call).lessonStatus},
		{Method: "POST", Path: "/lessons/{id}/undo", Name: "learn undo", Help: "Take a lesson back.", Roles: admins(), do: (*call).undoLesson},
		{Method: "POST", Path: "/correspondents", Name: "learn correspondents", Help: "Tell the running gateway whom your users wrote to before it was there.", Roles: admins(), do: (*call).correspondents,
			Body: []param{{"pairs", "array", "a user's address, a space, and that of whom the user wrote to"}}},
		{Method: "GET", Path: "/app-passwords", Help: "Passwords for single devices, without what is secret.", Roles: []Role{Admin, Auditor, User}, Query: texts("user"), do: (*call).appPasswords},
		{Method: "POST", Path: "/app-passwords", Name: "app-password add", Help: "Make a password for one device of a user. It is shown once.", Roles: []Role{Admin, User}, do: (*call).addAppPassword,
			Body: append(texts("user name real"), param{"protocols", "array", "imap, pop3; both if left out"})},
		{Method: "DELETE", Path: "/app-passwords", Name: "app-password remove", Help: "Take a device's password away, or all of a user's.", Roles: []Role{Admin, User}, Query: texts("user name"), do: (*call).removeAppPassword},
	}
}

// policyVerbs are the verbs on the policy.
func policyVerbs() []Verb {
	text := param{"text", "string", "the policy, in TOML"}
	return []Verb{
		{Method: "GET", Path: "/policy", Help: "The policy in force.", Roles: readers(), do: (*call).policy},
		{Method: "POST", Path: "/policy/plan", Looks: true, Help: "Judge the mail of the past by a draft.", Roles: admins(), do: (*call).planPolicy,
			Body: []param{text, {"since", "string", "RFC 3339; 30 days ago if left out"}, {"limit", "integer", "how many changed verdicts are listed"}}},
		{Method: "POST", Path: "/policy/apply", Name: "policy apply", Help: "Put a draft in force. The version before it can be brought back.", Roles: admins(), Body: []param{text, {"note", "string", "why"}}, do: (*call).applyPolicy},
		{Method: "POST", Path: "/policy/rollback", Name: "policy rollback", Help: "Bring a version back, the one before the last if none is named.", Roles: admins(), Body: []param{{"to", "string", "the one before the last if left out"}}, do: (*call).rollbackPolicy},
		{Method: "GET", Path: "/policy/versions", Help: "What was in force, the newest first.", Roles: readers(), do: (*call).policyVersions},
		{Method: "GET", Path: "/policy/versions/{id}", Help: "One version with its text.", Roles: readers(), do: (*call).policyVersion},
		{Method: "GET", Path: "/policy/trial", Help: "How the draft fares that is tried.", Roles: readers(), do: (*call).policyTrial},
		{Method: "POST", Path: "/policy/trial", Name: "policy canary", Help: "Try a draft on a share of the recipients, or only watch it.", Roles: admins(), Body: []param{text, {"share", "integer", "percent; 0 only watches"}}, do: (*call).tryPolicy},
		{Method: "DELETE", Path: "/policy/trial", Name: "policy canary", Help: "End the trial.", Roles: admins(), do: (*call).endTrial},
		{Method: "POST", Path: "/reload", Name: "reload", Help: "Let the running gateway read its configuration again.", Roles: admins(), do: (*call).reload},
	}
}
