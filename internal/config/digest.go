package config

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"time"

	"postern/internal/mail"
)

// Digest says when users are told by mail what is held for them, and how.
type Digest struct {
	Enabled bool `toml:"enabled"`
	// From is whom the digests are from, LinkBase the address of the console as users reach it.
	From     string `toml:"from"`
	LinkBase string `toml:"link_base"`
	// Hours are those of the day at which digests are sent, Days the days of the week, none for all.
	Hours    []int    `toml:"hours"`
	Days     []string `toml:"days"`
	Timezone string   `toml:"timezone"`
	Language string   `toml:"language"`
	// Shared are mailboxes that are nobody's own; Deputies give for each person the mailboxes that he looks after.
	Shared   []string            `toml:"shared"`
	Deputies map[string][]string `toml:"deputies"`
}

// defaultDigest is that of an empty file.
func (c *Config) defaultDigest() {
	c.Digest = Digest{Hours: []int{8}, Timezone: "Local", Language: "en", Deputies: map[string][]string{}}
}

// Zone is the time zone of the hours, that of the machine where it can't be read: Check says so.
func (d Digest) Zone() *time.Location {
	zone, err := time.LoadLocation(d.Timezone)
	if err != nil {
		return time.Local
	}
	return zone
}

// digest checks the section.
func (k *checker) digest() {
	d := &k.c.Digest
	for i, h := range d.Hours {
		if h < 0 || h > 23 {
			k.bad(fmt.Sprintf("digest.hours[%d]", i), "is %d; write an hour from 0 to 23", h)
		}
	}
	for i, name := range d.Days {
		if _, ok := Weekday(name); !ok {
			k.bad(fmt.Sprintf("digest.days[%d]", i), "%q is no day; write for example \"mon\"", name)
		}
	}
	if _, err := time.LoadLocation(d.Timezone); err != nil {
		k.bad("digest.timezone", "%q is no time zone that this machine knows; write for example \"Europe/Berlin\"", d.Timezone)
	}
	k.oneOf("digest.language", d.Language, "en", "de", "fr", "es")
	k.addresses("digest.shared", d.Shared)
	for _, person := range slices.Sorted(maps.Keys(d.Deputies)) {
		key := fmt.Sprintf("digest.deputies.%q", person)
		k.address(key, person)
		k.addresses(key, d.Deputies[person])
	}
	if d.Enabled {
		k.digestSent(d)
	}
}

func (k *checker) addresses(key string, all []string) {
	for i, a := range all {
		k.address(fmt.Sprintf("%s[%d]", key, i), a)
	}
}

// digestSent checks what a digest needs to be sent.
func (k *checker) digestSent(d *Digest) {
	if len(d.Hours) == 0 {
		k.bad("digest.hours", "is empty, so that no digest is ever sent; write for example [8]")
	}
	k.address("digest.from", d.From)
	if !isSite(d.LinkBase) {
		k.bad("digest.link_base", "%.100q is no address of a site; write where users reach the console, as in \"https://quarantine.example.com\"", d.LinkBase)
	}
	if k.c.Console.Listen == "" {
		k.bad("digest.enabled", "the links in digests lead to the console, which is off; set listen in [console]")
	}
}

// isSite holds for the address of a site, or of a folder of it.
func isSite(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil {
		return false
	}

	return (u.Scheme == "https" || u.Scheme == "http") && u.RawQuery+u.Fragment == ""
}

func (k *checker) address(key, text string) {
	if a, err := mail.ParseAddress(text); err != nil || a.IsNull() || a.Domain == "" {
		k.bad(key, "%q is not an address; write it as in \"quarantine@example.com\"", text)
	}
}
