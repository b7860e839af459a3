package main

import (
	"cmp"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"postern/filters/classify/classifier"
)

type learnImportCommand struct {
	where
	output
	Root   string `arg:"" name:"root" help:"The folder with the users' Maildirs, such as /var/vmail."`
	DryRun bool   `help:"Only tell what would be learned."`
	Limit  int    `default:"5000" help:"How many messages of each kind are learned, the newest."`
}

// importPlan is what would be learned.
type importPlan struct {
	Folders int `json:"folders"`
	Spam    int `json:"spam"`
	Ham     int `json:"ham"`
	// Skipped are folders whose mail says nothing: sent, deleted, drafts.
	Skipped int  `json:"skipped"`
	DryRun  bool `json:"dry_run,omitempty"`

	Classifier *classifier.Status `json:"classifier,omitempty"`
}

// Run learns from the mailboxes of a server: what lies in users' spam folders, and what they read and kept.
func (c *learnImportCommand) Run(w world) error {
	plan := importPlan{DryRun: c.DryRun}
	files, err := c.find(&plan)
	if err != nil {
		return err
	}
	if plan.Spam+plan.Ham == 0 {
		return fmt.Errorf("there is no Maildir with mail to learn from in %s: a Maildir has the folders cur and new", c.Root)
	}
	text := fmt.Sprintf("%d folders: %d messages of spam folders, %d read and kept; %d folders of sent, deleted and unfinished mail left out\n", plan.Folders, plan.Spam, plan.Ham, plan.Skipped)
	if c.DryRun {
		return c.tell(w, plan, text)
	}
	for spam, list := range files {
		if len(list) > 0 {
			t := teachCommand{where: c.where, output: c.output, Paths: list, live: true}
			if _, err := t.write(w, spam); err != nil {
				return err
			}
		}
	}
	plan.Classifier = &classifier.Status{}
	for _, kind := range []string{"spam", "ham"} {
		n := map[string]int{"spam": plan.Spam, "ham": plan.Ham}[kind]
		if err := act(w, c.where, http.MethodPost, "/classifier/"+kind, map[string]any{"messages": n}, plan.Classifier); err != nil {
			return plainly(err)
		}
	}

	return c.tell(w, plan, text+fmt.Sprintf("the classifier has learned from %d spam and %d ham\n", plan.Classifier.Spam, plan.Classifier.Ham))
}

// maildirFile is a message in a Maildir.
type maildirFile struct {
	path string
	time time.Time
}

// find looks for Maildirs, and gives the newest messages of both kinds.
func (c *learnImportCommand) find(plan *importPlan) (map[bool][]string, error) {
	found := map[bool][]maildirFile{}
	err := filepath.WalkDir(c.Root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !d.IsDir() || d.Name() != "cur":
			return nil
		}
		kind := folderKind(filepath.Base(filepath.Dir(path)))
		if kind == folderSilent {
			plan.Skipped++
			return nil
		}
		plan.Folders++
		some, err := readMail(path, kind == folderSpam)
		found[kind == folderSpam] = append(found[kind == folderSpam], some...)
		if err != nil {
			return err
		}

		return fs.SkipDir
	})
	if err != nil {
		return nil, err
	}
	files := map[bool][]string{}
	for spam, all := range found {
		slices.SortFunc(all, func(a, b maildirFile) int { return cmp.Or(b.time.Compare(a.time), cmp.Compare(a.path, b.path)) })
		for _, f := range all[:min(len(all), c.Limit)] {
			files[spam] = append(files[spam], f.path)
		}
	}
	plan.Spam, plan.Ham = len(files[true]), len(files[false])

	return files, nil
}

// readMail lists the messages of a folder: of honest mail those that somebody has seen and neither deleted nor only begun, by their
// flags.
func readMail(cur string, spam bool) (some []maildirFile, err error) {
	entries, err := os.ReadDir(cur)
	for _, e := range entries {
		_, flags, _ := strings.Cut(e.Name(), ":2,")
		kept := strings.Contains(flags, "S") && !strings.ContainsAny(flags, "TD")
		info, infoErr := e.Info()
		if infoErr != nil || !info.Mode().IsRegular() || !spam && !kept {
			continue // moved meanwhile, or not known to be wanted
		}
		some = append(some, maildirFile{filepath.Join(cur, e.Name()), info.ModTime()})
	}

	return some, err
}

// folder says what the mail in a folder is.
type folder int

const (
	folderHam folder = iota
	folderSpam
	folderSilent
)

// folderKind tells it by the folder's name, as mail programs and servers call theirs.
func folderKind(name string) folder {
	parts := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '.' || r == '/' })
	if len(parts) == 0 {
		return folderHam
	}
	switch last := parts[len(parts)-1]; last {
	case "junk", "spam", "bulk", "bulk mail", "junk e-mail", "junk email", "junk-e-mail", "learn-spam", "spambucket", "pourriel", "indesirables", "unerw&apw-nscht", "correo no deseado", "posta indesiderata", "ongewenst", "skr&aohs-ppost":
		return folderSpam
	case "trash", "deleted", "deleted items", "deleted messages", "gel&apy-schte elemente", "papierkorb", "corbeille", "papelera", "cestino", "drafts", "entw&apw-rfe", "brouillons", "borradores",
		"sent", "sent items", "sent messages", "gesendet", "gesendete elemente", "envoy&aok-s", "enviados", "outbox", "postausgang", "templates", "tmp", "quarantine":
		return folderSilent
	}

	return folderHam
}
