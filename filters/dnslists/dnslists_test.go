package dnslists

import (
	"testing"

	"postern/filters/filtertest"
)

func TestCases(t *testing.T) { filtertest.Run(t, Spec) }

func FuzzMessages(f *testing.F) { filtertest.Fuzz(f, Spec) }
