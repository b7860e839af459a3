package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Of a mail server's Maildirs spam folders are spam, what somebody read and kept is honest, and sent, deleted and unread mail says
// nothing.
func TestImportFromMaildirs(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{
		"corp.example/ann/cur/1.a:2,S", "corp.example/ann/cur/2.a:2,", "corp.example/ann/cur/3.a:2,ST", "corp.example/ann/new/4.a",
		"corp.example/ann/.Junk/cur/5.a:2,", "corp.example/ann/.Sent/cur/6.a:2,S", "corp.example/ann/.Archive.2025/cur/7.a:2,RS",
		"corp.example/ben/Maildir/cur/8.a:2,S", "corp.example/ben/Maildir/.INBOX.Spam/cur/9.a:2,S", "corp.example/ben/Maildir/.Deleted Items/cur/10.a:2,S", "notes/readme",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("Subject: x\r\n\r\nx\r\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	names := func(list []string) string {
		var all []string
		for _, path := range list {
			name, _, _ := strings.Cut(filepath.Base(path), ".")
			all = append(all, name)
		}
		return strings.Join(slices.Sorted(slices.Values(all)), " ")
	}
	var plan importPlan
	files, err := (&learnImportCommand{Root: root, Limit: 100}).find(&plan)
	if err != nil {
		t.Fatal(err)
	}
	if names(files[true]) != "5 9" || names(files[false]) != "1 7 8" || plan.Folders != 5 || plan.Skipped != 2 {
		t.Errorf("spam %s, ham %s, %+v", names(files[true]), names(files[false]), plan)
	}
	if files, err = (&learnImportCommand{Root: root, Limit: 1}).find(&plan); err != nil || len(files[false]) != 1 {
		t.Errorf("%v %v, want the newest one", files, err)
	}
	if _, err := (&learnImportCommand{Root: filepath.Join(root, "nowhere"), Limit: 1}).find(&plan); err == nil {
		t.Error("a folder that is missing is no error")
	}
}
