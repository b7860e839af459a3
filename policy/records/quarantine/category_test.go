package quarantine

import (
	"database/sql"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/policy"
)

func TestCategorize(t *testing.T) {
	for text, want := range map[string]Category{
		"": Policy, "BAYES_SPAM 5": Spam, "BAYES_SPAM 5,ATTACHMENT_MACRO 3": Attachment, "CLAM_VIRUS 0": Virus, "ICAP_VIRUS 9,ATTACHMENT_MACRO 3": Virus,
		"R_SPF_ALLOW -1": Policy, "HTML_SMUGGLING 4": Attachment, "ATTACHMENT_HASH 0,BAYES_SPAM 7": Spam,
	} {
		var reasons []policy.Reason
		for one := range strings.SplitSeq(text, ",") {
			var r policy.Reason
			if _, err := fmt.Sscan(one, &r.Symbol, &r.Score); err == nil {
				reasons = append(reasons, r)
			}
		}
		if got := Categorize(reasons); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestCampaignKey(t *testing.T) {
	same := CampaignKey("Invoice 4711 is due!", "Shop.example", "pay.example", "")
	for _, like := range []string{"Re: invoice 4712 is due", "AW: Fwd: INVOICE #A99 is due ...", "invoice  is\tdue"} {
		if got := CampaignKey(like, "shop.example", "pay.example", ""); got != same || len(got) != 32 {
			t.Errorf("%q is of another campaign", like)
		}
	}
	for _, other := range []string{CampaignKey("Invoice is paid", "shop.example", "pay.example", ""), CampaignKey("Invoice is due", "x.example", "pay.example", ""),
		CampaignKey("Invoice is due", "shop.example", "", ""), CampaignKey("Invoice is due", "shop.example", "pay.example", "ab")} {
		if other == same {
			t.Error("different mails are of one campaign")
		}
	}
	if CampaignKey("", "", "", "") != "" {
		t.Error("mails of which nothing is known are of one campaign")
	}
}

func FuzzCampaignKey(f *testing.F) {
	f.Add("Re: x 1", "a.example", "", "")
	f.Add("\xff\x00\u202e", "", "b", "c")
	f.Fuzz(func(t *testing.T, subject, domain, link, hash string) {
		if a, b := CampaignKey(subject, domain, link, hash), CampaignKey(subject, domain, link, hash); a != b || len(a) != 0 && len(a) != 32 {
			t.Error(a, b)
		}
	})
}

// Thousands of messages are searched within one request; POSTERN_QUARANTINE_ROWS makes it a hundred thousand.
func TestManyItems(t *testing.T) {
	rows := 5000
	if text := os.Getenv("POSTERN_QUARANTINE_ROWS"); text != "" {
		rows, _ = strconv.Atoi(text)
	}
	q := open(t, t.TempDir())
	err := q.db.Write(t.Context(), func(tx *sql.Tx) error {
		for n := range rows {
			item, _ := sample(n % 1000)
			item.ID, item.Time = fmt.Sprintf("01J9%08d.1", n), item.Time.Add(time.Duration(n)*time.Second)
			item.Subject, item.Campaign, item.Category = fmt.Sprintf("offer %d", n), fmt.Sprint(n%(rows/20)), Spam
			item.Recipients = []mail.Recipient{{Address: mail.Address{Local: fmt.Sprint("user", n%500), Domain: "example.com"}}}
			if err := indexIn(t.Context(), tx, &item, fresh(item.Recipients)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]Filter{
		"all": {}, "user": {Recipient: "user7@example.com"}, "domain": {Recipient: "example.com"}, "sender": {Sender: "bob@example.org"}, "nobody": {Sender: "x.example"},
		"text": {Text: "OFFER 77"}, "no text": {Text: "nothing has it"}, "campaign": {Campaign: "42"}, "category": {Category: Virus}, "old": {After: "1777809700000_01J9"},
	} {
		begin := time.Now()
		items, err := q.List(t.Context(), f)
		took := time.Since(begin)
		t.Logf("%-9s %3d items in %v", name, len(items), took.Round(time.Millisecond/10))
		if err != nil || took > 5*time.Second {
			t.Errorf("%s: %v, %v", name, took, err)
		}
	}
	begin := time.Now()
	list, err := q.ListCampaigns(t.Context(), Filter{Limit: 20})
	if err != nil || len(list) != 20 || list[0].Messages != 20 {
		t.Errorf("%d campaigns, %v", len(list), err)
	}
	t.Logf("campaigns in %v", time.Since(begin))
}
