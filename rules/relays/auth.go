package relays

import "regexp"

// How servers say that the client logged in.
var (
	authWith     = regexp.MustCompile(`(?i) with ((?:ES|L|UTF8S|UTF8L)MTPS?A|ASMTP|HTTP[SU]?)(?: |;|$)`)
	authGoogle   = regexp.MustCompile(` by mx\.google\.com with ESMTPS id [a-z0-9]{1,4}sm[0-9]{2,9}[a-z]{3}\.[0-9]{1,3}\.[0-9]{4}\.(?:[0-6][0-9]\.){4}[0-6][0-9]`)
	authCipher   = regexp.MustCompile(`\(version=([^ ]+) cipher=([^)]+)\)`)
	authExim     = regexp.MustCompile(`^from .*?(?:\]\)|\)\]) \(AUTH: (LOGIN|PLAIN|DIGEST-MD5|CRAM-MD5) \S+(?:, .*?)?\) by `)
	authSendmail = regexp.MustCompile(`^from .*?(?:\](?: \([^)]*\))?\)|\)\]) .*?\(.*?authenticated.*?\).*? by`)
	authGMX      = regexp.MustCompile(`from \S* \((?:HELO|EHLO) (\S*)\) \[([0-9A-Fa-f:.]+)\] by (mail\.gmx\.(?:net|com)) \([^)]+\) with (ESMTP|SMTP)`)
	authCritical = regexp.MustCompile(`\) by .+ \(\d{1,2}\.\d\.\d{3}(?:\.\d{1,3})?\) \(authenticated as .+\) id `)
	authPostfix  = regexp.MustCompile(`\) \(Authenticated sender: \S+\) by \S+ \(([^)]+)\) with `)
	authStalker  = regexp.MustCompile(`CommuniGate Pro (?:HTTP|SMTP|XIMSS|IMAP)`)
	authVia      = regexp.MustCompile(`(?i) \(via (HTTP.?)\)(?: |;|$)`)
)

// authOf says by what means the client of a handover logged in, "" if it did not.
func authOf(text string) string {
	if m := noted(text, " by ", authWith); m != nil {
		return m[1]
	}
	if noted(text, "google.com", authGoogle) != nil {
		if m := authCipher.FindStringSubmatch(text); m != nil {
			return "GMail - transport=" + m[1] + " cipher=" + m[2]
		}
	}
	if m := noted(text, "(AUTH: ", authExim); m != nil {
		return m[1]
	}
	if noted(text, "authenticated", authSendmail) != nil {
		return "Sendmail"
	}
	if m := noted(text, "mail.gmx.", authGMX); m != nil {
		return "GMX (" + m[4] + " / " + m[3] + ")"
	}
	return otherAuth(text)
}

func otherAuth(text string) string {
	if noted(text, " (authenticated as ", authCritical) != nil {
		return "CriticalPath"
	}
	if m := noted(text, "Authenticated sender: ", authPostfix); m != nil {
		if m[1] == "Postfix" {
			return m[1]
		}
		return "Postfix (" + m[1] + ")"
	}
	switch {
	case noted(text, " (account ", authStalker) != nil:
		return "Communigate"
	case contain(text, " with Microsoft Exchange Server HTTP-DAV"):
		return "HTTP-DAV"
	}
	if m := noted(text, "(via ", authVia); m != nil && contain(text, " by ") {
		return m[1]
	}
	return ""
}

// noted gives what a server noted about the login; has is what stands in each such note, and is looked for first.
func noted(text, has string, form *regexp.Regexp) []string {
	if !contain(text, has) {
		return nil
	}
	return form.FindStringSubmatch(text)
}
