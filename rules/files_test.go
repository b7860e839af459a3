package rules

import (
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/internal/mimeview/contents"
	"postern/internal/mimeview/unpack"
)

// What office documents carry is what the reading of attachments found.
func TestOfficeDocuments(t *testing.T) {
	const load = "loadplugin Mail::SpamAssassin::Plugin::OLEVBMacro\nifplugin Mail::SpamAssassin::Plugin::OLEVBMacro\n"
	var text strings.Builder
	names := []string{"", "_malice", "_renamed", "_encrypted", "_zip_password", "_csv", "_download_exe", "_redirect_uri", "_mhtml_uri"}
	for _, n := range names {
		text.WriteString("body M" + strings.ToUpper(n) + " eval:check_olemacro" + n + "()\n")
	}
	text.WriteString("body OBJ eval:check_oleobject()\nbody RTF eval:check_olertfobject()\nendif\nolemacro_num_mime 5\n")
	set, problems := ParseWith(Options{}, Foreign([]File{{Name: "a.cf", Text: load + text.String()}})...)
	if len(problems) > 0 || !set.AsksFiles() {
		t.Fatal(problems)
	}
	if none, _ := ParseWith(Options{}, Foreign([]File{{Name: "a.pre", Text: "loadplugin Mail::SpamAssassin::Plugin::Check\n"}, {Name: "b.cf", Text: strings.TrimPrefix(text.String(), load)}})...); len(none.Symbols()) == 0 {
		t.Error("a function outside of an ifplugin is not known")
	}
	item := func(parent bool, ext string, kind unpack.Kind, detail string, types ...unpack.Type) *contents.Item {
		i := &contents.Item{Extensions: []string{ext}, Types: types, Flags: []unpack.Flag{{Kind: kind, Detail: detail}}}
		if parent {
			i.Parent = &contents.Item{}
		}
		return i
	}
	rtf := unpack.Type{Name: "application/rtf"}
	for want, i := range map[string]*contents.Item{
		"M": item(false, ".docm", unpack.Macro, ""), "M_MALICE": item(false, ".doc", unpack.AutoExec, "AutoOpen"), "M M_RENAMED": item(false, ".txt", unpack.Macro, ""),
		"M_ENCRYPTED": item(false, ".xlsx", unpack.Encrypted, ""), "M_ZIP_PASSWORD": item(true, ".xlsx", unpack.Encrypted, ""), "M_CSV": item(false, ".csv", unpack.DDE, "cmd"),
		"M_CSV M_DOWNLOAD_EXE": item(false, ".csv", unpack.DDE, "http://x.example/a.EXE"), "M_REDIRECT_URI": item(false, ".docx", unpack.RemoteTemplate, "HTTP://x.example/t"),
		"M_MHTML_URI": item(false, ".docx", unpack.RemoteObject, "mhtml:http://x"), "OBJ": item(false, ".docx", unpack.EmbeddedObject, "Package"),
		"RTF": item(false, ".rtf", unpack.EmbeddedObject, "Package", rtf), "": item(false, ".zip", unpack.Encrypted, ""),
	} {
		in := Input{View: mimeview.Of(mail.NewMessage([]byte("From: a@b.example\r\n\r\nx\r\n"))), Files: func() []*contents.Item { return []*contents.Item{i} }}
		var got []string
		for _, h := range set.Match(in) {
			got = append(got, h.Rule)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%v %v: %v, want %s", i.Extensions, i.Flags, got, want)
		}
	}
}

func FuzzPDFInfo(f *testing.F) {
	set, problems := ParseWith(Options{All: true}, Foreign([]File{{Name: "rules.cf", Text: read(f, "testdata/cases/evals_pdf", "rules.cf")}})...)
	if len(problems) > 0 {
		f.Fatal(problems)
	}
	f.Add("%PDF-1.4\n/Author(a)\n/Title<FEFF0041>\n<</Subtype /Image/Width 640/Height 480>>\nstream")
	f.Add("\xef\xbb\xbf%PDF-1.4 /Image\n3 0 0 2 0 0 cm\n/Creator(\\)\n/CreationDate(D:1)\n/Encrypt")
	f.Fuzz(func(t *testing.T, pdf string) {
		raw := "From: a@b.example\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + pdf
		in := Input{View: mimeview.New(mail.NewMessage([]byte(raw)), mimeview.Options{})}
		if v := set.Values(in); v["P_COUNT1"] != 1 {
			t.Errorf("%v", v)
		}
	})
}
