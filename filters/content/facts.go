package content

import (
	"postern/filters"
	"postern/internal/mail"
	"postern/rules/eval"
)

// facts are what the filters before found out.
func facts(found []filters.Finding) (f eval.Facts) {
	for _, one := range found {
		switch v := one.Value.(type) {
		case filters.SPFHelo:
			f.SPFHelo = string(v.Result)
		case filters.SPF:
			f.SPF = string(v.Result)
			if v.Helo {
				f.SPFHelo = string(v.Result)
			}
		case filters.DKIM:
			f.DKIMKnown = true
			for _, s := range v {
				f.DKIM = append(f.DKIM, eval.Signature{Domain: s.Domain, Valid: s.Result == mail.AuthPass, Testing: s.Testing})
			}
		case filters.ARC:
			f.ARC, f.ARCValid = v.Result != mail.AuthNone, v.Result == mail.AuthPass
		case filters.DMARC:
			f.DMARC, f.DMARCPolicy = string(v.Result), string(v.Policy)
		}
	}
	return f
}
