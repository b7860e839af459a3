package config

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type dkimSettings struct {
	MaxSignatures int      `toml:"max_signatures"`
	Trusted       []string `toml:"trusted"`
}

func known() []Known {
	return []Known{
		{Name: "spf", Help: "Checks SPF."},
		{Name: "dkim", Help: "Checks DKIM.", Settings: &dkimSettings{MaxSignatures: 8}},
		{Name: "clamav", Help: "Asks clamd.", Disabled: true},
	}
}

// TestBadConfigurations reads testdata/bad/*.toml: the first line of each is "# " and the first refusal.
func TestBadConfigurations(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.toml")
	if err != nil || len(files) < 20 {
		t.Fatal("bad configurations are missing", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".toml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(string(text), "\n")
			want := strings.TrimPrefix(first, "# ")
			got := "nothing"
			c, err := Parse("postern.toml", text)
			if err != nil {
				got, _, _ = strings.Cut(err.Error(), "\n")
			} else if problems := c.Check(known()); len(problems) > 0 {
				got = problems[0].String()
			}
			if got != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
		})
	}
}

func TestAllUnknownKeysAreNamedAtOnce(t *testing.T) {
	_, err := Parse("x.toml", []byte("a1 = 1\n[smtp]\nb2 = 2\n[next_hop.default]\nc3 = 3\n"))
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Error(err)
	}
}

// What `config show` prints can be read again, and means the same.
func TestShowReadsBack(t *testing.T) {
	text, err := os.ReadFile("testdata/full.toml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("/etc/postern/postern.toml", text)
	if err != nil {
		t.Fatal(err)
	}
	var shown bytes.Buffer
	if err := c.Show(&shown, known()); err != nil {
		t.Fatal(err)
	}
	again, err := Parse("/etc/postern/postern.toml", shown.Bytes())
	if err != nil {
		t.Fatalf("%v\n%s", err, &shown)
	}
	one, two := asJSON(t, c), asJSON(t, again)
	if one != two {
		t.Errorf("read\n%s\nread again\n%s", one, two)
	}
	for _, want := range []string{"# Asks clamd.\n[filters.clamav]\nenabled = false\n", "max_signatures = 3\n", "chunking = false\n", "listen = \"127.0.0.1:2525\"\n"} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("%q is not shown:\n%s", want, &shown)
		}
	}
}

func asJSON(t *testing.T, c *Config) string {
	t.Helper()
	copied := *c
	copied.Filters = nil // the second time they hold the defaults, too
	text, err := json.Marshal(copied)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), ":[]", ":null")
}

func TestShowHidesSecrets(t *testing.T) {
	c := Default()
	c.Database.URL = "postgres://postern:s3cret@db/postern?sslpassword=s3cret"
	var shown bytes.Buffer
	if err := c.Show(&shown, nil); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(shown.String(), "s3cret") || !strings.Contains(shown.String(), "postgres://postern:hidden@db/postern") {
		t.Error(shown.String())
	}
}

func TestFlagsAloneWork(t *testing.T) {
	c, err := FromFlags("example.com", "exchange.internal:25", "")
	if err != nil {
		t.Fatal(err)
	}
	if problems := c.Check(known()); len(problems) > 0 {
		t.Error(problems)
	}
	if c.Doors[0].Listen != ":25" || c.Route("example.com").NextHop != "default" || !c.Local("EXAMPLE.com.") || !c.Doors[0].Extensions.Chunking.On() {
		t.Errorf("%+v", c)
	}
	_, err = FromFlags("", "exchange", "25")
	for _, want := range []string{"--domain: is missing", "--next-hop: \"exchange\" has no port", "--listen: \"25\" has no port"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: no %q", err, want)
		}
	}
}

func TestMissingFile(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "postern.toml"))
	if err == nil || !strings.Contains(err.Error(), "there is no such file; name it with -c") {
		t.Error(err)
	}
}

func TestRoutes(t *testing.T) {
	c := Default()
	c.Domains = []string{"example.com", ".example.com"}
	c.NextHops = map[string]NextHop{"example.com": {}, ".example.com": {}, ".lab.example.com": {}, "bücher.example": {}}
	for domain, want := range map[string]string{
		"Example.COM": "example.com", "a.example.com": ".example.com", "a.b.lab.example.com": ".lab.example.com",
		"lab.example.com": ".example.com", "other.example": "", "xn--bcher-kva.example": "bücher.example",
	} {
		if got := c.Route(domain).NextHop; got != want {
			t.Errorf("%s goes to %q, want %q", domain, got, want)
		}
	}
	for domain, want := range map[string]bool{"example.com": true, "a.example.com": true, "badexample.com": false, "": false, ".example.com": false} {
		if c.Local(domain) != want {
			t.Errorf("%q is local: %v", domain, !want)
		}
	}
}

func TestPathsAreRelativeToTheFile(t *testing.T) {
	c, err := Parse("/etc/postern/postern.toml", []byte("data_dir = \"data\"\n[policy]\nfile = \"policy.toml\"\n"))
	if err != nil || c.DataDir != "/etc/postern/data" || c.PolicyFile() != "/etc/postern/policy.toml" || c.LedgerFile() != "/etc/postern/data/ledger.db" {
		t.Error(c.DataDir, c.PolicyFile(), c.LedgerFile(), err)
	}
}

func TestValues(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "1": 1, "50MB": 50e6, "1.5 GB": 15e8, "64kib": 65536, "1TiB": 1 << 40} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%q is %d, want %d (%v)", text, s, want, err)
		}
		shown, _ := s.MarshalText()
		var again Size
		if err := again.UnmarshalText(shown); err != nil || again != s {
			t.Errorf("%q is shown as %s", text, shown)
		}
	}
	for _, text := range []string{"", "MB", "-1MB", "1e6", "0x10", "NaN", "Inf", "9999999TB", "1 2MB"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is %d", text, s)
		}
	}
	for text, want := range map[string]time.Duration{"30d": 720 * time.Hour, "1h30m": 90 * time.Minute, "0s": 0, "90s": 90 * time.Second, "10h": 10 * time.Hour} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d.Std() != want {
			t.Errorf("%q is %v, want %v (%v)", text, d.Std(), want, err)
		}
		shown, _ := d.MarshalText()
		var again Duration
		if err := again.UnmarshalText(shown); err != nil || again != d {
			t.Errorf("%q is shown as %s", text, shown)
		}
	}
	list := Networks{}
	for _, text := range []string{"192.0.2.0/24", "2001:db8::/32", "::ffff:198.51.100.1"} {
		var n Network
		if err := n.UnmarshalText([]byte(text)); err != nil {
			t.Error(err)
		}
		list = append(list, n)
	}
	for text, want := range map[string]bool{"192.0.2.9": true, "::ffff:192.0.2.9": true, "192.0.3.1": false, "2001:db8::1%eth0": true, "198.51.100.1": true} {
		if list.Contains(netip.MustParseAddr(text)) != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
}

func TestSectionNamesLines(t *testing.T) {
	c, err := Parse("postern.toml", []byte("[filters]\ndkim = { max_signatures = 3,\n  trusted = [\"a\", 5] }\n"))
	if err != nil {
		t.Fatal(err)
	}
	err = c.Filter("dkim").Decode(&dkimSettings{})
	if err == nil || !strings.HasPrefix(err.Error(), "postern.toml:3: filters.dkim.trusted") {
		t.Error(err)
	}
	err = NewSection("filters.dkim", map[string]any{"max_sig": 3}).Decode(&dkimSettings{})
	if err == nil || err.Error() != "filters.dkim.max_sig: there is no such key; take it away, or see `postern config show` for all keys" {
		t.Error(err)
	}
}

// The shipped example must start, and must show every key there is.
func TestShippedExample(t *testing.T) {
	const file = "../../deploy/postern.toml"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("postern.toml", text)
	if err != nil {
		t.Fatal(err)
	}
	if problems := c.Check(nil); len(problems) > 0 {
		t.Error(problems)
	}
	for _, key := range allKeys() {
		if !strings.Contains(string(text), "\n"+key+" = ") && !strings.Contains(string(text), "\n# "+key+" = ") {
			t.Errorf("%s does not show %s", file, key)
		}
	}
}

// Nothing that can be typed into postern.toml may bring the program down; what is wrong has words, and what was read
// can be shown.
func FuzzConfig(f *testing.F) {
	files, _ := filepath.Glob("testdata/bad/*.toml")
	for _, file := range append(files, "testdata/full.toml", "../../deploy/postern.toml") {
		if text, err := os.ReadFile(file); err == nil {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		IndexLines(text)
		// no path of it may be opened
		if bytes.Contains(text, []byte("file")) || bytes.Contains(text, []byte("dir")) || bytes.Contains(text, []byte("tls")) || bytes.Contains(text, []byte("dkim")) {
			return
		}
		c, err := Parse("postern.toml", text)
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Fatal("an error without words")
			}
			return
		}
		c.Check(known())
		var shown bytes.Buffer
		if c.Show(&shown, nil) == nil {
			if _, err := Parse("postern.toml", shown.Bytes()); err != nil {
				t.Fatalf("shown and not readable: %v\n%s", err, &shown)
			}
		}
	})
}
