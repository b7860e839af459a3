package links

import (
	"testing"

	"postern/filters/filtertest"
)

func TestCases(t *testing.T) { filtertest.Run(t, Spec) }

func FuzzInspect(f *testing.F) { filtertest.Fuzz(f, Spec) }
