package wire

import "testing"

func TestMailboxName(t *testing.T) {
	for name, want := range map[string]string{
		"Junk": "Junk", "Unerw&APw-nscht": "Unerwünscht", "&V4NXPpCuTvY-": "垃圾邮件", "A &- B": "A & B", "&": "&", "&AP": "&AP",
		"&2D0-": "&2D0-", "&2D3eAA-": "\U0001f600", "Entwürfe": "Entwürfe", "&&-": "&&-", "&*-": "&*-", "": "",
	} {
		if got := MailboxName(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func FuzzMailboxName(f *testing.F) {
	for _, seed := range []string{"Junk", "Unerw&APw-nscht", "&V4NXPpCuTvY-", "&-&AP-&", "&2D3eAA-"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if got := MailboxName(name); len(got) > 3*len(name) {
			t.Fatalf("%d octets of %d", len(got), len(name))
		}
	})
}
