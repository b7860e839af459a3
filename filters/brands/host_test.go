package brands_test

import (
	"testing"

	"postern/filters/brands"
)

// A brand's name in a foreign host: with its domain in front, or beside words of service, or alone where anybody chooses
// the name.
func TestInHost(t *testing.T) {
	table, err := brands.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host     string
		platform bool
		want     bool
	}{
		{"paypal.com.account-check.net", false, true},
		{"www.paypal.com-safe.org", false, true},
		{"paypal-login.net", false, true},
		{"login.wellsfargo.evil.org", false, true},
		{"paypa1.web.app", true, true},
		{"dhl.pages.dev", true, true},
		{"www.paypal.com", false, false},
		{"login.microsoftonline.com", false, false},
		{"mail.corp.example", false, false},
		{"dhl.narvar.com", false, false},
		{"www3.cisco.com.au", false, false},
		{"secure.corp-bank.example", false, false},
		{"", false, false},
	} {
		if _, ok := table.InHost(c.host, c.platform); ok != c.want {
			t.Errorf("%s: %v", c.host, ok)
		}
	}
	for path, want := range map[string]bool{"/paypal.com/signin": true, "/www.netflix.com/": true, "/news/paypal-grows": false, "/click/7/*http://www.tesco.ie/": false, "/index.html": false} {
		if _, ok := table.InPath(path); ok != want {
			t.Errorf("%s: %v", path, ok)
		}
	}
}
