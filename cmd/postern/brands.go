package main

import (
	"fmt"
	"slices"
	"strings"

	"postern/filters/brands"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/policy/records/ledger"
)

type brandsCommand struct {
	List brandsListCommand `cmd:"" help:"Brands with their kind, names and sending domains."`
	Test brandsTestCommand `cmd:"" help:"Say which brands a sender and a subject claim to be, and whether the sender's domain is theirs."`
}

// readBrands reads the shipped table and the lines of the settings.
func readBrands(f where) (*brands.Table, error) {
	cfg, err := f.offline()
	if err != nil {
		return nil, err
	}
	var s brands.Settings
	section := config.NewSection("filters."+brands.Spec.Name, cfg.Filters[brands.Spec.Name])
	if err := section.Decode(&s); err != nil {
		return nil, usageError{err}
	}
	t, err := brands.Shipped(s.Brands...)
	if err != nil {
		return nil, usageError{fmt.Errorf("[filters.brands]: brands: %w", err)}
	}
	return t, nil
}

type brandsListCommand struct {
	where
	output
	Kind string `placeholder:"KIND" help:"Only brands of a kind, such as bank, parcel or cloud."`
}

// Run lists.
func (c *brandsListCommand) Run(w world) error {
	t, err := readBrands(c.where)
	if err != nil {
		return err
	}
	var kinds []string
	shown := 0
	for _, b := range t.Brands {
		if !slices.Contains(kinds, b.Kind) {
			kinds = append(kinds, b.Kind)
		}
		if c.Kind != "" && b.Kind != c.Kind {
			continue
		}
		shown++
		text := fmt.Sprintf("%-9s  %s  |  %s\n", b.Kind, strings.Join(b.Names, ", "), strings.Join(b.Domains, " "))
		if err := c.tell(w, b, text); err != nil {
			return err
		}
	}
	if shown == 0 {
		return usageError{fmt.Errorf("--kind %s: there are %s", c.Kind, strings.Join(kinds, ", "))}
	}
	return nil
}

type brandsTestCommand struct {
	where
	output
	Subject string `placeholder:"TEXT" help:"The subject of the message."`
	Sender  string `arg:"" help:"The author as From has it: \"PayPal <service@paypal.example>\"."`
}

// Run tests; a claim that nothing excuses is the answer no.
func (c *brandsTestCommand) Run(w world) error {
	t, err := readBrands(c.where)
	if err != nil {
		return err
	}
	boxes, _, err := mail.ParseFrom(c.Sender)
	if err != nil || len(boxes) != 1 {
		return usageError{fmt.Errorf("%q: write one author as \"NAME <address>\"", c.Sender)}
	}
	answers := t.Claims(boxes[0], c.Subject)
	if len(answers) == 0 && !c.JSON {
		fmt.Fprintln(w.stdout, "no brand is claimed")
	}
	claimed := false
	for _, a := range answers {
		claimed = claimed || a.Excused == ""
		if err := c.tell(w, a, brandText(a)); err != nil {
			return err
		}
	}
	if claimed {
		return errNo
	}
	return nil
}

func brandText(a brands.Answer) string {
	what := a.Symbol + ": " + ledger.Printable(a.Evidence)
	if a.Excused != "" {
		what = "excused by " + a.Excused + ": " + ledger.Printable(a.Evidence)
	}
	return fmt.Sprintf("%s\n  %s: %s, %s\n", what, a.Brand.Names[0], a.Brand.Kind, a.Brand.Line)
}
