package mimeview

import (
	"bytes"
	stdbase64 "encoding/base64"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"postern/internal/mail"
)

// The case files in testdata hold messages that readers do not read alike. Their form:
//
//	let NAME = TEXT         a piece for all cases below: {NAME} stands for it
//	case FAMILY: WHAT       begins a case
//	each NAME = A | B       makes a message of each; several make every combination
//	want found              the payload stands at the front of an object, in each message
//	want inside             it stands within an object
//	want grave              or not: the message is gravely ambiguous
//	want KIND               this ambiguity is reported, in each message
//	limit LIMIT             this limit is named
//	name NAME               an object has this file name
//	message                 the lines up to one of a single dot are the message
//
// A line of a message ends in CRLF, or in nothing if it ends in "\". \r \n \t \0 \s (a blank) \xHH and \\ are octets.
// {raw}, {b64}, {lines} (base64 in short lines), {byline} (each line of it by itself), {qp}, {cut} (its escapes cut by
// soft line breaks), {uu}, {uulines} (without its first line), {yenc} and {percent} are the payload. Whatever it wants, each message must have the payload found or be gravely ambiguous.
type testCase struct {
	file, name    string
	line          int
	lets          []testLet
	each          []testEach
	want, message []string
	limits, names []string
}

type testLet struct{ name, text string }

type testEach struct {
	name   string
	values []string
}

func readCases(t testing.TB) (all []*testCase) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no case files", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c *testCase
		var lets []testLet
		inside := false
		for i, line := range strings.Split(string(text), "\n") {
			word, rest, _ := strings.Cut(line, " ")
			name, value, _ := strings.Cut(rest, " = ")
			switch {
			case inside && line == ".":
				inside = false
			case inside:
				c.message = append(c.message, line)
			case line == "" || line[0] == '#':
			case word == "let":
				lets = append(slices.Clip(lets), testLet{name, unescape(value)})
			case word == "case":
				c = &testCase{file: filepath.Base(file), line: i + 1, name: rest, lets: lets}
				all = append(all, c)
			case word == "each":
				c.each = append(c.each, testEach{name, strings.Split(value, " | ")})
			case word == "want":
				c.want = append(c.want, rest)
			case word == "limit":
				c.limits = append(c.limits, rest)
			case word == "name":
				c.names = append(c.names, unescape(rest))
			case word == "message":
				inside = true
			default:
				t.Fatalf("%s:%d: %s?", file, i+1, word)
			}
		}
	}
	return all
}

func unescape(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		i++
		switch text[i] {
		case 'r':
			b.WriteByte('\r')
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case '0':
			b.WriteByte(0)
		case 's':
			b.WriteByte(' ')
		case 'x':
			v, _ := strconv.ParseUint(text[i+1:i+3], 16, 8)
			b.WriteByte(byte(v))
			i += 2
		default:
			b.WriteByte(text[i])
		}
	}
	return b.String()
}

// expand makes the messages of a case for a payload.
func (c *testCase) expand(payload string) (all []string) {
	var b strings.Builder
	for _, line := range c.message {
		if rest, ok := strings.CutSuffix(line, `\`); ok && !strings.HasSuffix(rest, `\`) {
			b.WriteString(unescape(rest))
		} else {
			b.WriteString(unescape(line) + "\r\n")
		}
	}
	all = []string{b.String()}
	lets := func() {
		for range 3 {
			for i := range all {
				for _, let := range c.lets {
					all[i] = strings.ReplaceAll(all[i], "{"+let.name+"}", let.text)
				}
			}
		}
	}
	lets()
	for _, e := range slices.Backward(c.each) { // a value may hold what stands above it
		var next []string
		for _, m := range all {
			for _, v := range e.values {
				next = append(next, strings.ReplaceAll(m, "{"+e.name+"}", unescape(v)))
			}
		}
		all = next
	}
	lets()
	for i := range all {
		for name, text := range payloads(payload) {
			all[i] = strings.ReplaceAll(all[i], "{"+name+"}", text)
		}
	}
	return all
}

func payloads(payload string) map[string]string {
	b64 := stdbase64.StdEncoding.EncodeToString([]byte(payload))
	var lines, byLine, cut, qp, pc strings.Builder
	for i := 0; i < len(payload); i += 32 {
		byLine.WriteString(stdbase64.RawStdEncoding.EncodeToString([]byte(payload[i:min(i+32, len(payload))])) + "\r\n")
	}
	for i := 0; i < len(b64); i += 20 {
		lines.WriteString(b64[i:min(i+20, len(b64))] + "\r\n")
	}
	for i := range len(payload) {
		fmt.Fprintf(&qp, "=%02X", payload[i])
		fmt.Fprintf(&pc, "%%%02X", payload[i])
		fmt.Fprintf(&cut, "=%X=\r\n%X", payload[i]>>4, payload[i]&15)
		if i%20 == 19 {
			qp.WriteString("=\r\n")
		}
	}
	var y, uu strings.Builder
	for i := range len(payload) {
		c := payload[i] + 42
		if c == 0 || c == '\n' || c == '\r' || c == '=' || c == '.' {
			y.WriteByte('=')
			c += 64
		}
		y.WriteByte(c)
	}
	for at := 0; at < len(payload); at += 45 {
		piece := payload[at:min(at+45, len(payload))]
		uu.WriteByte(byte(len(piece)) + ' ')
		for len(piece)%3 != 0 {
			piece += "\x00"
		}
		for i := 0; i < len(piece); i += 3 {
			n := uint(piece[i])<<16 | uint(piece[i+1])<<8 | uint(piece[i+2])
			for shift := 18; shift >= 0; shift -= 6 {
				uu.WriteByte(byte(n>>shift&0x3f) + ' ')
			}
		}
		uu.WriteString("\r\n")
	}
	coded := strings.ReplaceAll(uu.String(), " ", "`") + "`\r\nend"
	return map[string]string{
		"byline": byLine.String(), "cut": cut.String(), "uulines": coded,
		"raw": payload, "b64": b64, "lines": strings.TrimSuffix(lines.String(), "\r\n"), "qp": qp.String(), "percent": pc.String(),
		"uu":    "begin 644 a.exe\r\n" + coded,
		"yenc":  "=ybegin line=128 size=" + strconv.Itoa(len(payload)) + " name=a.exe\r\n" + y.String() + "\r\n=yend size=1",
		"half1": b64[:44], "half2": b64[44:],
	}
}

// The payload is put together here, so that scanners leave this file alone.
func eicar() string {
	return `X5O!P%@AP[4\PZX54(P^)7CC)7}$` + "EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE!$H+H*"
}

const otherMarker = "MZ\x90\x00mark-7d1f6c02-5b0e-4a8e-9f3a-c4e1d2b3a596\xff\xfe\x00"

type outcome struct {
	found, inside, grave bool
	kinds                []string
}

func look(t *testing.T, message, payload string) (out outcome, v *View) {
	t.Helper()
	v = New(mail.NewMessage([]byte(message)), Options{})
	for _, o := range v.Objects() {
		f, err := o.Open()
		if err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(f)
		if err != nil || int64(len(all)) != o.Size {
			t.Fatalf("%d octets of %d, %v", len(all), o.Size, err)
		}
		_ = f.Close()
		out.found = out.found || bytes.HasPrefix(all, []byte(payload))
		out.inside = out.inside || bytes.Contains(all, []byte(payload))
	}
	for _, a := range v.Ambiguities() {
		out.grave = out.grave || a.Grave()
		out.kinds = appendOnce(out.kinds, a.Kind)
	}
	return out, v
}

func TestCases(t *testing.T) {
	type tally struct{ all, found, grave, either int }
	families := map[string]*tally{}
	var order []string
	for _, c := range readCases(t) {
		if only := os.Getenv("CASE"); !strings.Contains(c.name, only) {
			continue
		}
		family, _, _ := strings.Cut(c.name, ":")
		for which, payload := range []string{eicar(), otherMarker} {
			for i, m := range c.expand(payload) {
				out, v := look(t, m, payload)
				if families[family] == nil {
					families[family] = &tally{}
					order = append(order, family)
				}
				n := families[family]
				n.all++
				if out.found {
					n.found++
				}
				if out.grave {
					n.grave++
				}
				if out.found || out.grave {
					n.either++
				}
				for _, why := range c.misses(out, v) {
					t.Errorf("%s:%d: %s, message %d, payload %d: %s (kinds %q)", c.file, c.line, c.name, i, which, why, out.kinds)
				}
				if t.Failed() && os.Getenv("SHOW") != "" {
					t.Fatalf("%q", m)
				}
			}
		}
	}
	all := tally{}
	for _, family := range order {
		n := families[family]
		t.Logf("%-6s %4d messages, found %4d, grave %4d, found or grave %4d", family, n.all, n.found, n.grave, n.either)
		all = tally{all.all + n.all, all.found + n.found, all.grave + n.grave, all.either + n.either}
	}
	t.Logf("all    %4d messages, found %4d (%.1f %%), grave %4d, found or grave %4d (%.1f %%)", all.all, all.found,
		100*float64(all.found)/float64(all.all), all.grave, all.either, 100*float64(all.either)/float64(all.all))
}

// misses says what a case wants and did not get.
func (c *testCase) misses(out outcome, v *View) (all []string) {
	if !out.found && !out.grave && !slices.Contains(c.want, "inside") && len(c.limits) == 0 {
		all = append(all, "neither found nor grave")
	}
	for _, want := range c.want {
		ok := false
		switch want {
		case "found":
			ok = out.found
		case "inside":
			ok = out.inside
		case "grave":
			ok = out.grave
		case "not grave":
			ok = !out.grave
		default:
			ok = slices.Contains(out.kinds, want)
		}
		if !ok {
			all = append(all, "not "+want)
		}
	}
	for _, want := range c.limits {
		if !slices.Contains(v.Limits(), want) {
			all = append(all, fmt.Sprintf("limits %q", v.Limits()))
		}
	}
	for _, want := range c.names {
		if !slices.ContainsFunc(v.Objects(), func(o *Object) bool { return slices.Contains(o.Names, want) }) {
			all = append(all, "no object is named "+strconv.Quote(want))
		}
	}
	return all
}
