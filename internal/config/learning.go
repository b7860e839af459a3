package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
)

// ReportAddresses take mail from inside alone, and learn from the messages attached to it.
type ReportAddresses struct {
	Spam []string `toml:"spam"`
	Ham  []string `toml:"ham"`
	// Trusted senders' reports count at once, those of others once several say the same.
	Trusted []string `toml:"trusted"`
}

// LearnFolder is a mailbox of labelled mail that the gateway reads by itself, such as a public folder.
type LearnFolder struct {
	// Backend is the [mail_backend] with the mailbox, User and PasswordFile log in there.
	Backend      string `toml:"backend"`
	User         string `toml:"user"`
	PasswordFile string `toml:"password_file"`
	Folder       string `toml:"folder"`
	// Label is "spam" or "ham".
	Label string   `toml:"label"`
	Every Duration `toml:"every"`
	// Trusted says that what lies there counts at once; else as the word of one user.
	Trusted Switch `toml:"trusted"`
}

func (f *LearnFolder) fill() {
	orElse(&f.Backend, "default")
	orElse(&f.Every, Duration(10*time.Minute))
	f.Trusted.fill(true)
}

// learnFolders checks [[learn_folder]].
func (k *checker) learnFolders() {
	for i := range k.c.LearnFolders {
		f, path := &k.c.LearnFolders[i], fmt.Sprintf("learn_folder[%d]", i)
		if b, ok := k.c.MailBackends[f.Backend]; !ok || len(b.IMAP) == 0 {
			k.bad(path+".backend", "there is no [mail_backend.%q] with imap; name one that has the mailbox", f.Backend)
		}
		for key, value := range map[string]string{".user": f.User, ".password_file": f.PasswordFile, ".folder": f.Folder} {
			if value == "" {
				k.bad(path+key, "is missing; the mailbox is opened with user and the password in password_file")
			}
		}
		k.readable(path+".password_file", f.PasswordFile)
		k.oneOf(path+".label", f.Label, "spam", "ham")
		if f.Every < Duration(10*time.Second) {
			k.bad(path+".every", "is less than 10s; write it as in \"10m\"")
		}
	}
	if len(k.c.LearnFolders) > 0 && !k.c.MailAccess.Learn.On() {
		k.bad("learn_folder", "nothing is learned while [mail_access] learn = false")
	}
}

// reportAddresses checks [report_addresses].
func (k *checker) reportAddresses() {
	r := &k.c.ReportAddresses
	for key, list := range map[string][]string{"spam": r.Spam, "ham": r.Ham, "trusted": r.Trusted} {
		for i, text := range list {
			if a, err := mail.ParseAddress(text); err != nil || a.Domain == "" {
				k.bad(fmt.Sprintf("report_addresses.%s[%d]", key, i), "%q is not an address; write it as in \"spam@example.com\"", text)
			} else if key == "ham" && slices.ContainsFunc(r.Spam, func(spam string) bool { return strings.EqualFold(spam, text) }) {
				k.bad(fmt.Sprintf("report_addresses.ham[%d]", i), "%q is in spam, too; spam and honest mail need an address each", text)
			}
		}
	}
	if len(r.Spam)+len(r.Ham) > 0 && !k.c.MailAccess.Learn.On() {
		k.bad("report_addresses", "users teach nothing while [mail_access] learn = false")
	}
}
