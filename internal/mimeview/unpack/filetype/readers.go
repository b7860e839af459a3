package filetype

import "strings"

// Danger says what a file does where it is opened by its name.
type Danger int

// The dangers, mildest first.
const (
	// Harmless: no mail reader keeps it from its user.
	Harmless Danger = iota
	// Caution: some mail reader blocks it, but people in business send it in earnest: sources, databases, certificates.
	Caution
	// Opens: it only opens, connects or configures something else.
	Opens
	// Scripts: an interpreter runs it.
	Scripts
	// Mounts: a disk image; what is in it has lost the mark of the web.
	Mounts
	// Programs: the system runs or installs it.
	Programs
)

// The mail readers whose lists these are: "Blocked attachments in Outlook" and "File types blocked in Gmail", as their
// makers publish them, and what macOS counts among executables and installers when Mail asks its quarantine.
const (
	outlook = 1 << iota
	gmail
	apple
	desktop // on no reader's block list; Windows or a Linux desktop opens it with a program that obeys it
)

type blocked struct {
	danger  Danger
	readers int
	names   string
}

// blockedNames is the table, by danger and by who blocks it.
var blockedNames = []blocked{
	{Programs, outlook | gmail, "ade adp cab chm com cpl diagcab exe jar mde msi msp mst pif scr xll"},
	{Programs, outlook, "app application bgi gadget hlp msu vsmacros xbap"},
	{Programs, gmail, "apk appx appxbundle diagcfg diagpkg dll ex ex_ msix msixbundle sys vxd"},
	{Programs, apple, "command tool pkg mpkg osax prefpane kext dylib"},
	{Programs, desktop, "appinstaller vsto wll ocx drv deskthemepack ppkg aab flatpakref"},
	{Scripts, outlook | gmail, "bat cmd hta js jse ps1 sct shb vb vbe vbs wsc wsf wsh msc"},
	{Scripts, outlook, "inf ins isp msh msh1 msh2 mshxml msh1xml msh2xml osd ps1xml ps2 ps2xml psc1 psc2 psd1 psdm1 cdxml pssc reg shs ws pyw pyz pyzw hta htc wsb"},
	{Scripts, gmail, "mjs nsh"},
	{Scripts, apple, "terminal workflow action scpt scptd applescript wflow"},
	{Scripts, desktop, "psm1"},
	{Opens, outlook | gmail, "lnk"},
	{Opens, outlook, "url scf appref-ms settingcontent-ms appcontent-ms library-ms search-ms website theme webpnp printerexport xnk jnlp prf mcf maf mag mam maq mar mas mat mau mav maw cnt hpj its"},
	{Opens, gmail, "jnlp"},
	{Opens, apple, "mobileconfig fileloc inetloc webloc"},
	{Opens, desktop, "searchconnector-ms desktop rdp iqy oqy rqy dqy themepack udl symlink"},
	{Mounts, outlook | gmail, "iso img vhd"},
	{Mounts, outlook, "vhdx"},
	{Mounts, gmail | apple, "dmg"},
	{Mounts, apple, "sparseimage sparsebundle"},
	{Mounts, desktop, "vmdk wim udf daa"},
	{Caution, outlook, "asp aspx asx bas cer crt csh der fxp grp ksh mad mda mdb mdt mdw mdz ops pcd pl plg prg pst py pyc pyo sln tmp vbp vcxproj vsw"},
	{Caution, gmail, "lib"},
}

// dangers is the table by extension.
var dangers = func() map[string]blocked {
	all := map[string]blocked{}
	for _, row := range blockedNames {
		for _, name := range strings.Fields(row.names) {
			one := all["."+name]
			all["."+name] = blocked{danger: max(one.danger, row.danger), readers: one.readers | row.readers}
		}
	}
	return all
}()

// DangerOf says what an extension, lower case with its dot, stands for.
func DangerOf(ext string) Danger { return dangers[ext].danger }

// BlockedBy names the mail readers that do not let their users open a file of this extension.
func BlockedBy(ext string) string {
	by := dangers[ext].readers
	var names []string
	for i, name := range []string{"Outlook", "Gmail", "Apple Mail"} {
		if by&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// WithDanger gives the extensions of the table that stand for one of these, in its order.
func WithDanger(wanted ...Danger) (all []string) {
	for _, row := range blockedNames {
		for _, d := range wanted {
			if d != row.danger {
				continue
			}
			for _, name := range strings.Fields(row.names) {
				all = append(all, "."+name)
			}
		}
	}
	return all
}
