package links

import (
	"testing"

	"postern/filters"
	"postern/filters/brands"
	"postern/internal/config"
	"postern/internal/testing/filtertest"
)

// spec is the filter with the table of brands, which the program gives it.
func spec(t testing.TB) filters.Spec {
	t.Helper()
	table, err := brands.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	s := Spec
	s.New = func(section config.Section, env filters.Env) (filters.Filter, error) {
		env.Brands = table
		return Spec.New(section, env)
	}
	return s
}

func TestCases(t *testing.T) { filtertest.Run(t, spec(t)) }

func FuzzInspect(f *testing.F) { filtertest.Fuzz(f, spec(f)) }
