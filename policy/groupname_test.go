package policy

import "testing"

// A group is known by its name, however the directory writes it: RFC 4514.
func TestGroupName(t *testing.T) {
	for value, want := range map[string]struct {
		name string
		isDN bool
	}{
		"Staff":                                 {"Staff", false},
		"Sales, North":                          {"Sales, North", false},
		"a=b":                                   {"a=b", false},
		"=":                                     {"=", false},
		"":                                      {"", false},
		"CN=Staff":                              {"Staff", true},
		"CN=Staff,OU=Groups,DC=corp,DC=example": {"Staff", true},
		"cn = Staff , dc=corp":                  {"Staff", true},
		"ou=staff,dc=corp":                      {"staff", true},
		`CN=Sales\, North,DC=corp`:              {"Sales, North", true},
		`CN=Sales\2C North,DC=corp`:             {"Sales, North", true},
		`CN=M\C3\BCnchen,DC=corp`:               {"München", true},
		`CN=a+uid=b,DC=corp`:                    {"a", true},
		`CN=back\\slash,DC=corp`:                {`back\slash`, true},
	} {
		if name, isDN := GroupName(value); name != want.name || isDN != want.isDN {
			t.Errorf("%q: %q %v, want %q %v", value, name, isDN, want.name, want.isDN)
		}
	}
}
