package strangers

import (
	"testing"

	"postern/filters/filtertest"
)

func TestCases(t *testing.T) { filtertest.Run(t, Spec) }
