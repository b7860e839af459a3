package spf

import (
	"testing"

	"postern/internal/testing/filtertest"
)

func TestCases(t *testing.T) { filtertest.Run(t, Spec) }

func TestReceived(t *testing.T) {
	for value, want := range map[string]string{
		"from mail.example.org (mail.example.org [192.0.2.1]) by relay.example with ESMTPS id 1; Mon, 2 Mar 2026 12:00:00 +0000":                                       "192.0.2.1 mail.example.org",
		"from mail.example.org (unknown [192.0.2.1]) (using TLSv1.3 with cipher X (256/256 bits)) (No client certificate requested) by relay.example with ESMTPS id 1": "192.0.2.1 mail.example.org",
		"from mail.example.org ([192.0.2.1]) by relay.example":                            "192.0.2.1 mail.example.org",
		"from [192.0.2.7] (x [IPv6:2001:db8::1]) by relay.example":                        "2001:db8::1 [192.0.2.7]",
		"FROM mail.example.org (192.0.2.1) by relay.example with Microsoft SMTP Server":   "192.0.2.1 mail.example.org",
		"from a (b [::ffff:192.0.2.1]) by c":                                              "192.0.2.1 a",
		"by relay.example with SMTP id 1":                                                 "",
		"from mail.example.org by relay.example":                                          "",
		"from (x [192.0.2.7]) ([192.0.2.1]) by relay.example":                             "",
		"from mail.example.org (x (y [192.0.2.7]) [192.0.2.1]) by relay.example":          "",
		"from mail.example.org ([192.0.2.7] [192.0.2.1]) by relay.example":                "",
		"from mail.example.org (x [192.0.2.1] y) by relay.example":                        "",
		"from mail.example.org (x [192.0.2.1]":                                            "",
		"from mail.example.org (x [fe80::1%eth0]) by relay.example":                       "",
		`from "a (x [192.0.2.7]) by" (y [192.0.2.1]) by relay.example`:                    "",
		"from mail.example.org (x [192.0.2.1]) for <a@b>":                                 "",
		"from a\\ (x [192.0.2.1]) by relay.example":                                       "",
		"from mail.example.org (mail.example.org [192.0.2.1] (may be forged)) by relay.x": "192.0.2.1 mail.example.org",
		"from a (b [192.0.2.1] (c [192.0.2.7])) by d":                                     "",
	} {
		got := ""
		if v, err := parseReceived(value); err == nil {
			got = v.client.String() + " " + v.helo
		}
		if got != want {
			t.Errorf("%s: %q, want %q", value, got, want)
		}
	}
}

func FuzzReceived(f *testing.F) {
	f.Add("from mail.example.org (mail.example.org [192.0.2.1]) by relay.example with ESMTPS id 1")
	f.Add("from a (b [IPv6:::1]) (c) by d")
	f.Fuzz(func(t *testing.T, value string) {
		if v, err := parseReceived(value); err == nil && !v.client.IsValid() {
			t.Error("no address and no error")
		}
	})
}
