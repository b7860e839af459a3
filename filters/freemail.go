package filters

import "strings"

// IsFreemail says whether a domain, in A-labels, is that of a mail service with open registration.
func IsFreemail(domain string) bool {
	switch domain {
	case "gmail.com", "googlemail.com", "yahoo.com", "ymail.com", "rocketmail.com", "hotmail.com", "outlook.com", "live.com",
		"msn.com", "aol.com", "icloud.com", "me.com", "mac.com", "gmx.com", "gmx.net", "gmx.de", "gmx.at", "gmx.ch", "web.de",
		"mail.com", "mail.ru", "bk.ru", "inbox.ru", "list.ru", "rambler.ru", "yandex.ru", "yandex.com", "qq.com", "163.com",
		"126.com", "sina.com", "proton.me", "protonmail.com", "tutanota.com", "zoho.com", "libero.it", "free.fr", "orange.fr",
		"laposte.net", "t-online.de", "freenet.de", "wp.pl", "o2.pl", "seznam.cz", "naver.com", "daum.net", "rediffmail.com",
		"att.net", "comcast.net", "verizon.net", "email.com", "usa.com", "consultant.com", "tutamail.com", "tuta.io", "pm.me",
		"mailbox.org", "posteo.de", "posteo.net", "hey.com", "gmx.fr", "gmx.es", "gmx.co.uk", "gmx.us", "sfr.fr", "wanadoo.fr", "bbox.fr",
		"virgilio.it", "alice.it", "tiscali.it", "tin.it", "hotmail.it", "interia.pl", "onet.pl", "op.pl", "poczta.onet.pl", "vp.pl", "gazeta.pl",
		"centrum.cz", "email.cz", "abv.bg", "ukr.net", "i.ua", "internet.ru", "ya.ru", "yandex.com.tr", "yandex.kz", "sapo.pt", "uol.com.br",
		"bol.com.br", "terra.com.br", "ig.com.br", "btinternet.com", "sky.com", "talktalk.net", "virginmedia.com", "ntlworld.com", "telenet.be",
		"skynet.be", "bluewin.ch", "home.nl", "ziggo.nl", "planet.nl", "kpnmail.nl", "hotmail.nl", "telia.com", "online.no", "bigpond.com",
		"optusnet.com.au", "shaw.ca", "rogers.com", "sympatico.ca", "videotron.ca", "cox.net", "charter.net", "earthlink.net", "bellsouth.net",
		"sbcglobal.net", "foxmail.com", "yeah.net", "sina.cn", "sohu.com", "139.com", "hanmail.net", "nate.com", "docomo.ne.jp", "ezweb.ne.jp",
		"softbank.ne.jp", "nifty.com", "excite.co.jp", "walla.co.il", "walla.com", "mynet.com", "inbox.lv", "inbox.com", "gmx.eu", "aim.com",
		"myyahoo.com", "lycos.com", "hushmail.com", "cock.li", "onionmail.org", "dnmx.org", "mail2tor.com", "cyberfear.com", "keemail.me",
		"engineer.com", "europe.com", "post.com", "techie.com", "accountant.com", "financier.com", "dr.com", "asia.com", "iname.com", "zohomail.com",
		"zohomail.eu", "duck.com", "privaterelay.appleid.com", "relay.firefox.com", "skiff.com", "vivaldi.net", "disroot.org", "riseup.net":
		return true
	}
	// national branches
	for _, name := range []string{"yahoo.co.", "yahoo.", "hotmail.co.", "hotmail.", "outlook.", "live."} {
		if rest, ok := strings.CutPrefix(domain, name); ok && len(rest) == 2 {
			return true
		}
	}
	return false
}
