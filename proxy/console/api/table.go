package api

import "strings"

// heldVerbs are the verbs on held mail.
func heldVerbs() []Verb {
	releasers := []Role{Admin, DomainAdmin, Helpdesk, User}
	release := []param{{"allow", "boolean", "let the sender's mail in from now on, if it is authentic"}, {"learn", "boolean", "take it as a lesson; for spam that is so unless it is false"}}
	return []Verb{
		{Method: "GET", Path: "/quarantine", Help: "Held messages, newest first.", Roles: everybody(), Query: heldParams(), do: (*call).heldList},
		{Method: "GET", Path: "/quarantine/{id}", Help: "One held message and the state of each copy.", Roles: everybody(), do: (*call).heldOne},
		{Method: "GET", Path: "/quarantine/{id}/raw", Name: "quarantine export", Help: "Export one held message for analysis. Malware is for admins only.", Noted: true, Roles: releasers, do: (*call).raw},
		{Method: "POST", Path: "/quarantine/{id}/release", Name: "quarantine release", Help: "Deliver a held message once, unchanged and without another check. Malware can be released by admins only.", Roles: releasers, do: (*call).release,
			Body: append([]param{{"recipients", "array", "whose copies; all of yours that are held if left out"}, {"to", "string", "another address instead"}, {"wait", "boolean", "wait a few seconds for what the mail server answers, unless it is false"}}, release...)},
		{Method: "DELETE", Path: "/quarantine/{id}", Name: "quarantine delete", Help: "Delete a held message for good, or the caller's copies of it.", Roles: releasers, Query: []param{{"learn", "boolean", "learn the message as spam"}}, do: (*call).unhold},
		{Method: "GET", Path: "/campaigns", Help: "Similar held messages, most of them first.", Roles: everybody(), Query: heldParams(), do: (*call).campaigns},
		{Method: "POST", Path: "/campaigns/{id}/release", Name: "quarantine campaigns release", Help: "Deliver the held messages of a campaign, up to 500 per request.", Roles: releasers, Body: release, do: (*call).releaseCampaign},
		{Method: "DELETE", Path: "/campaigns/{id}", Name: "quarantine campaigns delete", Help: "Delete the held messages of a campaign, up to 500 per request.", Roles: releasers, do: (*call).deleteCampaign},
		{Method: "POST", Path: "/digests", Name: "digest send", Help: "Send quarantine digests now, regardless of the schedule.", Roles: admins(), do: (*call).sendDigests,
			Body: []param{{"user", "string", "an address; all for whom something is held if left out"}, {"dry_run", "boolean", "only tell who would get one"}}},
		{Method: "POST", Path: "/sweeps", Name: "sweep", Help: "Move recalled messages out of a user's mailboxes, by IMAP.", Roles: admins(), do: (*call).sweep,
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
		{Method: "GET", Path: "/lists", Help: "Allow and block entries, newest first.", Roles: everybody(), Query: texts("list scope scope_of text unused limit after"), do: (*call).lists},
		{Method: "GET", Path: "/lists/{id}", Help: "One entry.", Roles: everybody(), do: (*call).listEntry},
		{Method: "POST", Path: "/lists", Name: "lists add", Help: "Allow or block a sender or a network; it holds within seconds. An entry allows proven senders only, unless an admin says otherwise.", Roles: owners, do: (*call).addEntry,
			Body: append(texts("list scope scope_of sender network recipient reason expires"), param{"unauthenticated", "boolean", "for senders whom nothing proves: admins only"}, param{"monitored", "boolean", "it decides nothing"})},
		{Method: "DELETE", Path: "/lists/{id}", Name: "lists remove", Help: "Remove an entry.", Roles: owners, do: (*call).unlist},
		{Method: "POST", Path: "/lists/import", Name: "lists import", Help: "Import the lists of another product.", Roles: admins(), do: (*call).importList,
			Body: append(texts("format text list scope scope_of reason"), param{"widen", "boolean", "take entries that hold for more here than there"}, param{"dry_run", "boolean", "only tell"})},
		{Method: "GET", Path: "/lessons", Help: "Lessons from users, newest first.", Roles: readers(), Query: texts("user since limit"), do: (*call).lessons},
		{Method: "GET", Path: "/lessons/status", Help: "How many lessons there are.", Roles: readers(), do: (*call).lessonStatus},
		{Method: "POST", Path: "/lessons/{id}/undo", Name: "learn undo", Help: "Undo a lesson.", Roles: admins(), do: (*call).undoLesson},
		{Method: "POST", Path: "/correspondents", Name: "learn correspondents", Help: "Import known correspondents from earlier logs into the running gateway.", Roles: admins(), do: (*call).correspondents,
			Body: []param{{"pairs", "array", "a user's address, a space, and that of whom the user wrote to"}}},
		{Method: "GET", Path: "/app-passwords", Help: "App passwords, without their secrets.", Roles: []Role{Admin, Auditor, User}, Query: texts("user"), do: (*call).appPasswords},
		{Method: "POST", Path: "/app-passwords", Name: "app-password add", Help: "Create an app password for one device of a user. It is shown once.", Roles: []Role{Admin, User}, do: (*call).addAppPassword,
			Body: append(texts("user name real"), param{"protocols", "array", "imap, pop3; both if left out"})},
		{Method: "DELETE", Path: "/app-passwords", Name: "app-password remove", Help: "Revoke an app password, or all of a user's.", Roles: []Role{Admin, User}, Query: texts("user name"), do: (*call).removeAppPassword},
	}
}

// policyVerbs are the verbs on the policy.
func policyVerbs() []Verb {
	text := param{"text", "string", "the policy, in TOML"}
	return []Verb{
		{Method: "GET", Path: "/policy", Help: "The active policy.", Roles: readers(), do: (*call).policy},
		{Method: "POST", Path: "/policy/plan", Looks: true, Help: "Replay past mail against a draft policy.", Roles: admins(), do: (*call).planPolicy,
			Body: []param{text, {"since", "string", "RFC 3339; 30 days ago if left out"}, {"limit", "integer", "how many changed verdicts are listed"}}},
		{Method: "POST", Path: "/policy/apply", Name: "policy apply", Help: "Apply a draft. Earlier versions can be rolled back to.", Roles: admins(), Body: []param{text, {"note", "string", "why"}}, do: (*call).applyPolicy},
		{Method: "POST", Path: "/policy/rollback", Name: "policy rollback", Help: "Roll back to a version, by default the one before the last.", Roles: admins(), Body: []param{{"to", "string", "the one before the last if left out"}}, do: (*call).rollbackPolicy},
		{Method: "GET", Path: "/policy/versions", Help: "Earlier versions, newest first.", Roles: readers(), do: (*call).policyVersions},
		{Method: "GET", Path: "/policy/versions/{id}", Help: "One version with its text.", Roles: readers(), do: (*call).policyVersion},
		{Method: "GET", Path: "/policy/trial", Help: "Results of the running trial.", Roles: readers(), do: (*call).policyTrial},
		{Method: "POST", Path: "/policy/trial", Name: "policy canary", Help: "Try a draft on a share of the recipients, or only monitor it.", Roles: admins(), Body: []param{text, {"share", "integer", "percent; 0 only watches"}}, do: (*call).tryPolicy},
		{Method: "DELETE", Path: "/policy/trial", Name: "policy canary", Help: "End the trial.", Roles: admins(), do: (*call).endTrial},
		{Method: "POST", Path: "/reload", Name: "reload", Help: "Make the running gateway reload its configuration.", Roles: admins(), do: (*call).reload},
	}
}
