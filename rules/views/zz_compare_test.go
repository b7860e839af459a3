package views

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"
	"testing"

	"postern/rules/relays"
)

func loadDomains() *Domains {
	d := &Domains{}
	raw, _ := os.ReadFile("/usr/share/spamassassin/20_aux_tlds.cf")
	for _, l := range strings.Split(string(raw), "\n") {
		f := strings.Fields(l)
		if len(f) > 1 {
			switch f[0] {
			case "util_rb_tld":
				d.Add(1, f[1:]...)
			case "util_rb_2tld":
				d.Add(2, f[1:]...)
			case "util_rb_3tld":
				d.Add(3, f[1:]...)
			}
		}
	}
	return d
}

func lat(s string) string { // JSON latin1
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

func TestCompareScratch(t *testing.T) {
	f, err := os.Open(os.Getenv("REF"))
	if err != nil {
		t.Skip()
	}
	d := loadDomains()
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 64<<20)
	bad := map[string]int{}
	n := 0
	show := os.Getenv("SHOW")
	for sc.Scan() {
		var r struct {
			File          string
			Body, Rawbody []string
			Uris          []string
			Relays        []string
			Get           map[string][]string
			Types         []string
			Html          []map[string]any
		}
		if json.Unmarshal(sc.Bytes(), &r) != nil || r.File == "" {
			continue
		}
		n++
		raw, _ := os.ReadFile(r.File)
		m := Read(string(raw), Options{Domains: d, OriginFields: []string{"X-Yahoo-Post-IP", "X-Originating-IP", "X-Apparently-From"}})
		cmp := func(kind string, ours, theirs []string) {
			for i := range theirs {
				theirs[i] = lat(theirs[i])
			}
			if strings.Join(ours, "\x01") != strings.Join(theirs, "\x01") {
				bad[kind]++
				if kind == show {
					fmt.Println("==", r.File, len(ours), len(theirs))
					for i := 0; i < max(len(ours), len(theirs)); i++ {
						a, b := "-", "-"
						if i < len(ours) {
							a = ours[i]
						}
						if i < len(theirs) {
							b = theirs[i]
						}
						if a != b {
							fmt.Printf("  ours   %.300q\n  theirs %.300q\n", a, b)
							break
						}
					}
				}
			}
		}
		cmp("body", m.Body(), r.Body)
		cmp("rawbody", m.Raw(), r.Rawbody)
		u := append([]string(nil), m.URIs()...)
		sort.Strings(u)
		cmp("uris", u, r.Uris)
		p := m.Path()
		cmp("relays", []string{relays.Join(p.Trusted), relays.Join(p.Untrusted), relays.Join(p.Internal), relays.Join(p.External)}, r.Relays)
		for k, v := range r.Get {
			cmp("get "+k, m.Get(k), v)
		}
		var types []string
		for _, x := range m.Root.Find(false, nil) {
			types = append(types, x.Type)
		}
		cmp("types", types, r.Types)
		var a, b []string
		for _, pg := range m.Pages() {
			var in []string
			for k, v := range pg.Inside {
				in = append(in, fmt.Sprintf("%s=%d", k, v))
			}
			sort.Strings(in)
			a = append(a, strings.Join(in, " "))
			var keys []string
			for k := range pg.numbers {
				if k != "html" {
					keys = append(keys, k)
				}
			}
			sort.Strings(keys)
			for _, k := range keys {
				a = append(a, fmt.Sprintf("%s=%.5g", k, pg.numbers[k]))
			}
			a = append(a, strings.Join(pg.Titles, "|"))
		}
		for _, h := range r.Html {
			b = append(b, h["inside"].(string))
			var keys []string
			for k := range h {
				if k != "inside" && k != "title" {
					keys = append(keys, k)
				}
			}
			sort.Strings(keys)
			for _, k := range keys {
				var x float64
				fmt.Sscan(fmt.Sprint(h[k]), &x)
				b = append(b, fmt.Sprintf("%s=%.5g", k, x))
			}
			var tt []string
			for _, x := range h["title"].([]any) {
				tt = append(tt, x.(string))
			}
			b = append(b, strings.Join(tt, "|"))
		}
		cmp("html", a, b)
	}
	fmt.Println(n, bad)
}
