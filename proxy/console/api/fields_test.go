package api

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"postern/policy/records/ledger"
	"postern/policy/records/lists"
	"postern/policy/records/quarantine"
	"postern/proxy/release"
)

// later is a record with a field that the table does not name.
type later struct {
	ledger.Transaction
	Secret string   `json:"secret"`
	Inner  []hidden `json:"inner"`
}

type hidden struct {
	Secret string `json:"secret"`
}

// A field added to a record is not shown unless the table names it.
func TestAFieldThatIsAddedIsNotShown(t *testing.T) {
	record := later{Transaction: ledger.Transaction{ID: "01M", From: "x@spam.example"}, Secret: "canary", Inner: []hidden{{"canary"}}}
	for _, r := range Roles() {
		text, err := json.Marshal(sees(Caller{Role: r}, recordMessage, record))
		if err != nil {
			t.Fatal(err)
		}
		everything := r != User && r != DomainAdmin
		if strings.Contains(string(text), "canary") != everything || !strings.Contains(string(text), "01M") {
			t.Errorf("%s sees %s", r, text)
		}
	}
	if text, _ := json.Marshal(sees(Caller{Role: "unheard of"}, recordMessage, record)); strings.Contains(string(text), "01M") {
		t.Errorf("a role that is in no table sees %s", text)
	}
}

// Every name in the table is that of a field, and of a field that is filled it is what is shown.
func TestFieldsAreThere(t *testing.T) {
	records := map[string]any{recordMessage: ledger.Transaction{}, recordHeld: held{}, recordEntry: lists.Entry{}, recordCampaign: quarantine.Campaign{}, recordReleased: release.Released{}, recordPassword: AppPassword{}}
	for _, f := range fields() {
		there := map[string]bool{}
		namesOf(reflect.TypeOf(records[f.record]), "", there)
		for _, name := range strings.Fields(f.names) {
			if !there[name] {
				t.Errorf("%s, %s: there is no field %s, but %v", f.record, f.role, name, slices.Sorted(maps.Keys(there)))
			}
		}
	}
}

// namesOf collects the names of a record's fields, and of those of the records within.
func namesOf(r reflect.Type, prefix string, into map[string]bool) {
	for r.Kind() == reflect.Slice || r.Kind() == reflect.Pointer {
		r = r.Elem()
	}
	if r.Kind() != reflect.Struct || strings.Count(prefix, ".") > 1 {
		return
	}
	for f := range r.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			namesOf(f.Type, prefix, into)
			continue
		}
		into[prefix+name] = true
		namesOf(f.Type, prefix+name+".", into)
	}
}
