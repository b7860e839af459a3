package smtpd

import (
	"crypto/tls"
	"strings"
)

// hearing gives settings that remember what a client offers in its hello, and a function that tells it: for the record of a
// handshake that failed. Settings with tickets are taken as they are, because copies of them share no keys.
func hearing(settings *tls.Config) (config *tls.Config, offered func() string) {
	if !settings.SessionTicketsDisabled {
		return settings, func() string { return "" }
	}

	var heard *tls.ClientHelloInfo
	config = settings.Clone()
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		heard = hello
		if settings.GetConfigForClient == nil {
			return nil, nil
		}
		return settings.GetConfigForClient(hello)
	}

	return config, func() string {
		if heard == nil {
			return ""
		}
		return offerOf(heard)
	}
}

// maxOffered is how many versions and suites of a hello are named.
const maxOffered = 40

func offerOf(hello *tls.ClientHelloInfo) string {
	var b strings.Builder
	b.WriteString("; the client offers")

	for _, v := range hello.SupportedVersions[:min(len(hello.SupportedVersions), maxOffered)] {
		b.WriteString(" " + strings.ReplaceAll(tls.VersionName(v), " ", ""))
	}
	for _, s := range hello.CipherSuites[:min(len(hello.CipherSuites), maxOffered)] {
		b.WriteString(" " + tls.CipherSuiteName(s))
	}

	return b.String()
}
