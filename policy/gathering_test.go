package policy

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"postern/filters"
	"postern/internal/mail"
)

// weighing is a value that counts how often it is read.
type weighing struct{ read *int }

func (w weighing) Weight() float64 {
	*w.read++
	return 0.5
}

// Facts that grow with a transaction are those that would be gathered from it at once, whatever comes and is taken back.
func TestGatheringGrows(t *testing.T) {
	values := []mail.Finding{
		{Symbol: "A", Evidence: "x"}, {Symbol: "B", Value: filters.SPF{Result: mail.AuthPass, Domain: "one.example"}},
		{Symbol: "C", Value: filters.DKIM{{Result: mail.AuthPass, Domain: "two.example"}, {Result: mail.AuthFail, Domain: "three.example"}}},
		{Symbol: filters.Failed, Evidence: "spf", Value: "spf"},
	}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		tx := &mail.Transaction{Session: &mail.Session{}, From: mail.Address{Local: "bob", Domain: "one.example"}}
		g := Gather()
		some := func() []mail.Finding {
			var list []mail.Finding
			for range r.IntN(3) {
				list = append(list, values[r.IntN(len(values))])
			}
			return list
		}
		for range 30 {
			before := len(tx.Findings)
			tx.Findings = append(tx.Findings, some()...)
			if r.IntN(10) == 0 {
				tx.Session.Findings = append(tx.Session.Findings, some()...)
			}
			early := g.Facts(tx)
			if want := FactsOf(tx); !reflect.DeepEqual(early, want) {
				t.Fatalf("seed %d: %+v, want %+v", seed, early, want)
			}
			if r.IntN(2) == 0 {
				tx.Findings = tx.Findings[:before:before]
				g.Forget(before)
			}
		}
		tx.Message, tx.Stage = mail.NewMessage([]byte("From: ann@two.example\r\n\r\n")), mail.StageMessage
		if got, want := g.Facts(tx), FactsOf(tx); !reflect.DeepEqual(got, want) || len(got.HeaderFrom) != 1 {
			t.Fatalf("seed %d: %+v, want %+v", seed, got, want)
		}
	}
}

// Each finding is read once, however often the facts are asked for.
func TestGatheringReadsOnce(t *testing.T) {
	read := 0
	tx := &mail.Transaction{Session: &mail.Session{}}
	g := Gather()
	for range 800 {
		tx.Findings = append(tx.Findings, mail.Finding{Symbol: "A", Value: weighing{&read}})
		g.Facts(tx)
	}
	if read != 800 {
		t.Errorf("800 findings were read %d times", read)
	}
}
