package links

import (
	"testing"

	"postern/filters"
	"postern/filters/brands"
	"postern/internal/config"
	"postern/internal/testing/filtertest"
)

// knowing is the filter as a gateway makes it: it knows brands.
func knowing(t testing.TB) filters.Spec {
	t.Helper()
	known, err := brands.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	spec := Spec
	spec.New = func(section config.Section, env filters.Env) (filters.Filter, error) {
		env.Brands = known
		return Spec.New(section, env)
	}

	return spec
}

func TestCases(t *testing.T) { filtertest.Run(t, knowing(t)) }

func FuzzInspect(f *testing.F) { filtertest.Fuzz(f, knowing(f)) }
