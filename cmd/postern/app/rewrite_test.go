package app_test

import (
	"bytes"
	"encoding/base64"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/policy/records/quarantine"
)

// newRewritingGate opens a gateway whose policy takes programs out of mail and makes HTML harmless.
func newRewritingGate(t *testing.T) *gate {
	t.Helper()
	policy := filepath.Join(t.TempDir(), "policy.toml")
	if err := os.WriteFile(policy, []byte("[actions]\nATTACHMENT_EXECUTABLE = \"strip\"\nHTML_ACTIVE = \"defang\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return newGate(t, "[policy]\nfile = \""+policy+"\"\n[filters.greylist]\nenabled = false")
}

// rewritten sends a message and gives what came in, and the original as it is held.
func (g *gate) rewritten(text string) (delivered, held string) {
	g.t.Helper()
	c := g.dial("mx")
	if code, said := c.message("anna@friend.example", "ben@ours.test", text); code != 250 {
		g.t.Fatalf("%d %s", code, said)
	}
	if all := g.inside.Messages(); len(all) > 0 {
		delivered = below(all[len(all)-1].Data)
	}
	g.inside.Forget()
	items, err := g.app.Quarantine.List(g.t.Context(), quarantine.Filter{Limit: 10})
	if err != nil || len(items) != 1 {
		g.t.Fatalf("%d are held, %v; delivered was\n%.2000s", len(items), err, delivered)
	}
	_, m, err := g.app.Quarantine.Get(g.t.Context(), items[0].ID)
	if err != nil {
		g.t.Fatal(err)
	}
	defer m.Close()
	original, err := io.ReadAll(m.Open())
	if err != nil {
		g.t.Fatal(err)
	}
	if delivered != "" && strings.Contains(delivered, "taken out") && !strings.Contains(delivered, items[0].ID) {
		g.t.Errorf("the notice does not say under which id the original is held: %s", delivered)
	}
	return delivered, string(original)
}

func parted(parts ...string) string {
	text := head + "Subject: papers\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"part\"\r\n\r\nA preamble.\r\n"
	for _, p := range parts {
		text += "--part\r\n" + p + "\r\n"
	}
	return text + "--part--\r\nAn epilogue.\r\n"
}

const letterPart = "Content-Type: text/plain\r\n\r\nSee below.\r\n"

func programPart(name string) string {
	program := append([]byte("MZ\x90\x00"), make([]byte, 80)...)
	return "Content-Type: application/octet-stream; name=\"" + name + "\"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString(program)
}

// A program is taken out, also where it lies in a multipart within, and a second time; all else stays octet for octet.
func TestAProgramIsTakenOut(t *testing.T) {
	t.Parallel()
	inner := "Content-Type: multipart/mixed; boundary=\"inner\"\r\n\r\n--inner\r\n" + letterPart + "\r\n--inner\r\n" + programPart("again.exe") + "\r\n--inner--"
	text := parted(letterPart, programPart("setup.exe"), inner, letterPart)
	delivered, held := newRewritingGate(t).rewritten(text)
	if held != text && below([]byte(held)) != text {
		t.Errorf("the original is not held as it came:\n%s", held)
	}
	if strings.Contains(delivered, "TVqQ") || strings.Count(delivered, "An attachment was taken out") != 2 {
		t.Fatalf("delivered:\n%s", delivered)
	}
	rest, was := delivered, text
	for _, name := range []string{"setup.exe", "again.exe"} {
		before, after, _ := strings.Cut(was, programPart(name))
		got, ok := strings.CutPrefix(rest, before)
		end := strings.Index(got, after[:len("\r\n--part")])
		if !ok || end < 0 || !strings.Contains(got[:end], name) {
			t.Fatalf("%s: what stood before it is not as it was, or no notice names it:\n%s", name, delivered)
		}
		rest, was = got[end:], after
	}
	if rest != was {
		t.Errorf("what stands behind is not as it was:\n%q, want\n%q", rest, was)
	}
}

// The message is the program.
func TestAMessageThatIsAProgramIsTakenOut(t *testing.T) {
	t.Parallel()
	text := head + "Subject: x\r\nMIME-Version: 1.0\r\n" + programPart("setup.exe") + "\r\n"
	delivered, _ := newRewritingGate(t).rewritten(text)
	if !strings.Contains(delivered, "An attachment was taken out") || strings.Contains(delivered, "octet-stream") || strings.Contains(delivered, "TVqQ") {
		t.Errorf("delivered:\n%s", delivered)
	}
}

// HTML that acts is made harmless; what a reader sees of it stays, in any charset.
func TestHTMLIsMadeHarmless(t *testing.T) {
	t.Parallel()
	text := parted(letterPart, "Content-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>Gr=FC=DFe<script>steal()</script></p><form action=3D\"https://a.example\">Name <input name=3Dpw></form>")
	delivered, held := newRewritingGate(t).rewritten(text)
	if !strings.Contains(held, "steal()") {
		t.Errorf("the original is not held: %s", held)
	}
	_, part, _ := strings.Cut(delivered, "Content-Type: text/html; charset=utf-8\r\n")
	_, coded, _ := strings.Cut(part, "\r\n\r\n")
	coded, after, _ := strings.Cut(coded, "\r\n--part--")
	html, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(coded, "\r\n", ""))
	if err != nil || !bytes.Contains(html, []byte("Grüße")) || bytes.Contains(html, []byte("steal")) || bytes.Contains(html, []byte("<input")) {
		t.Errorf("%v: %s in\n%s", err, html, delivered)
	}
	if after != "\r\nAn epilogue.\r\n" {
		t.Errorf("behind it stands %q", after)
	}
}

// Where readers would find the program in different places, nothing can be taken out: the message is held.
func TestAmbiguousMailIsHeldInstead(t *testing.T) {
	t.Parallel()
	text := strings.Replace(parted(letterPart, programPart("setup.exe")), "boundary=\"part\"", "boundary=other; boundary=\"part\"", 1)
	if delivered, _ := newRewritingGate(t).rewritten(text); delivered != "" {
		t.Errorf("delivered:\n%s", delivered)
	}
}

// So is one whose program is in an archive within an encoded message: its container can't be cut out.
func TestWhatCannotBeCutOutIsHeld(t *testing.T) {
	t.Parallel()
	inner := base64.StdEncoding.EncodeToString([]byte(parted(letterPart, programPart("setup.exe"))))
	text := parted(letterPart, "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"+inner)
	if delivered, _ := newRewritingGate(t).rewritten(text); delivered != "" {
		t.Errorf("delivered:\n%s", delivered)
	}
}
