package content

import (
	"postern/filters"
	"postern/rules/eval"
)

// facts are what the filters before found out.
func facts(found []filters.Finding) (f eval.Facts) {
	for _, one := range found {
		switch v := one.Value.(type) {
		case filters.SPFHelo:
			f.SPFHelo = v.Result
		case filters.SPF:
			f.SPF = v.Result
			if v.Helo {
				f.SPFHelo = v.Result
			}
		case filters.DKIM:
			f.DKIMKnown = true
			for _, s := range v {
				f.DKIM = append(f.DKIM, eval.Signature{Domain: s.Domain, Valid: s.Result == "pass", Testing: s.Testing})
			}
		case filters.ARC:
			f.ARC, f.ARCValid = v.Result != "none", v.Result == "pass"
		case filters.DMARC:
			f.DMARC, f.DMARCPolicy = v.Result, v.Policy
		}
	}
	return f
}
