package eval

import (
	"regexp"
	"slices"
	"strings"

	"postern/internal/mimeview/contents"
	"postern/internal/mimeview/unpack"
)

// What office documents carry. These functions ask our own reading of attachments, which goes further into documents and
// archives than that of the plugin they are named after.
func macroFunctions() map[string]Func {
	return map[string]Func{
		"check_olemacro":              anyFile(func(i *contents.Item) bool { return hasMacro(i) }),
		"check_olemacro_malice":       anyFile(func(i *contents.Item) bool { return i.Has(unpack.AutoExec) }),
		"check_olemacro_renamed":      anyFile(func(i *contents.Item) bool { return hasMacro(i) && !officeNamed(i) }),
		"check_olemacro_encrypted":    anyFile(func(i *contents.Item) bool { return i.Has(unpack.Encrypted) && officeNamed(i) && !packed(i) }),
		"check_olemacro_zip_password": anyFile(func(i *contents.Item) bool { return i.Has(unpack.Encrypted) && officeNamed(i) && packed(i) }),
		"check_oleobject":             anyFile(func(i *contents.Item) bool { return i.Has(unpack.EmbeddedObject) && !i.Is("application/rtf") }),
		"check_olertfobject":          anyFile(func(i *contents.Item) bool { return i.Has(unpack.EmbeddedObject) && i.Is("application/rtf") }),
		"check_olemacro_csv":          anyFile(func(i *contents.Item) bool { return i.Has(unpack.DDE) && slices.Contains(i.Extensions, ".csv") }),
		"check_olemacro_download_exe": anyFile(func(i *contents.Item) bool { return (hasMacro(i) || i.Has(unpack.DDE)) && says(i, fetchesProgram) }),
		"check_olemacro_redirect_uri": anyFile(func(i *contents.Item) bool { return remote(i, "http:") || remote(i, "https:") }),
		"check_olemacro_mhtml_uri":    anyFile(func(i *contents.Item) bool { return remote(i, "mhtml:") }),
	}
}

func anyFile(holds func(*contents.Item) bool) Func {
	return func(c *Context, _ []string) float64 {
		if c.Files == nil {
			return 0
		}
		return truth(slices.ContainsFunc(c.Files(), holds))
	}
}

func hasMacro(i *contents.Item) bool { return i.Has(unpack.Macro) || i.Has(unpack.ExcelMacro4) }

// packed says whether a file lies in an archive.
func packed(i *contents.Item) bool { return i.Parent != nil }

var (
	officeName     = regexp.MustCompile(`^\.(do[ct][mx]?|rtf|xl[aswt]?|xl[astwm][mx]|xlsb|xlm|p[po][ast][mx]?|ppsx|ppst|sld[mx]|xps)$`)
	fetchesProgram = regexp.MustCompile(`(?i)\.exe\b`)
)

func officeNamed(i *contents.Item) bool {
	return slices.ContainsFunc(i.Extensions, officeName.MatchString)
}

// says whether an expression matches what was seen in a file.
func says(i *contents.Item, re *regexp.Regexp) bool {
	return slices.ContainsFunc(i.Flags, func(f unpack.Flag) bool { return re.MatchString(f.Detail) })
}

// remote says whether a document loads something from an address of this scheme.
func remote(i *contents.Item, scheme string) bool {
	return slices.ContainsFunc(i.Flags, func(f unpack.Flag) bool {
		loads := f.Kind == unpack.RemoteTemplate || f.Kind == unpack.RemoteObject
		return loads && strings.HasPrefix(strings.ToLower(f.Detail), scheme)
	})
}
