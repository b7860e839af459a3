package eval

import (
	"crypto/md5"  //nolint:gosec // lists are keyed by it
	"crypto/sha1" //nolint:gosec // lists are keyed by it
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"

	"postern/rules/perlre"
)

// Lists in the DNS that are asked by hash: of addresses, of links, of what an expression finds, of attached files.
func hashFunctions() map[string]Func {
	return map[string]Func{
		"check_hashbl_emails": hashedEmails, "check_hashbl_uris": hashedURIs, "check_hashbl_bodyre": hashedBody, "check_hashbl_attachments": hashedFiles,
	}
}

// hashOptions are "sha1/max=10/notag".
type hashOptions map[string]string

func readHashOptions(text, otherwise string) hashOptions {
	if text == "" {
		text = otherwise
	}
	o := hashOptions{}
	for _, one := range strings.Split(strings.ToLower(text), "/") {
		key, value, _ := strings.Cut(strings.TrimSpace(one), "=")
		o[key] = value
	}
	return o
}

func (o hashOptions) has(key string) bool {
	_, ok := o[key]
	return ok
}

func (o hashOptions) most() int {
	if n := int(number(o["max"])); n > 0 {
		return min(n, 50)
	}
	return 10
}

// hash gives the key of a value.
func (o hashOptions) hash(value string) string {
	switch {
	case o.has("raw"):
		return value
	case o.has("sha256"):
		sum := sha256.Sum256([]byte(value))
		return hex.EncodeToString(sum[:])
	case o.has("md5"):
		sum := md5.Sum([]byte(value)) //nolint:gosec // see above
		return hex.EncodeToString(sum[:])
	}
	sum := sha1.Sum([]byte(value)) //nolint:gosec // see above
	return hex.EncodeToString(sum[:])
}

// hashListed looks values up by their hashes.
func (c *Context) hashListed(values []string, list, subtest string, o hashOptions) float64 {
	if c.Lists == nil || list == "" {
		return 0
	}
	var re *perlre.Regexp
	if subtest != "" {
		if re = c.pattern(subtest); re == nil {
			return 0
		}
	}
	values = unique(values)
	for _, v := range values[:min(len(values), o.most())] {
		for _, answer := range c.Lists.Listed(o.hash(v), strings.TrimSuffix(list, ".")) {
			if re == nil || c.find(re, answer) {
				return 1
			}
		}
	}
	return 0
}

func hashedEmails(c *Context, args []string) float64 {
	o := readHashOptions(arg(args, 1), "sha1/notag/noquote/max=10")
	from := arg(args, 2)
	if from == "" {
		from = "ALLFROM/Reply-To/body"
	}
	var own []string
	for _, name := range []string{"X-Original-To:addr", "Apparently-To:addr", "Delivered-To:addr", "Envelope-To:addr"} {
		own = append(own, lowered(c.Message.Get(name))...)
	}
	var keys []string
	for _, where := range strings.Split(from, "/") {
		for _, a := range c.emailsIn(strings.TrimSpace(where)) {
			if slices.Contains(own, strings.ToLower(a)) || roles.MatchString(a) || c.Config.SkipDomains[strings.Join(c.domainsOf([]string{a}), "")] {
				continue
			}
			keys = append(keys, emailKey(c, a, o))
		}
	}
	return c.hashListed(keys, arg(args, 0), arg(args, 3), o)
}

// emailsIn finds addresses in a place: all From fields, the text, or a header value.
func (c *Context) emailsIn(where string) []string {
	switch where {
	case "ALLFROM":
		return c.fromAddresses()
	case "body":
		return c.bodyAddresses()
	}
	var all []string
	for _, v := range c.Message.Get(where) {
		for _, a := range plainAddress.FindAllString(v, 50) {
			if c.Config.Domains.Valid(a) {
				all = append(all, a)
			}
		}
	}
	return all
}

// emailKey is what of an address is looked up.
func emailKey(c *Context, address string, o hashOptions) string {
	user, domain, _ := strings.Cut(address, "@")
	if o.has("nodot") {
		user = strings.ReplaceAll(user, ".", "")
	}
	if o.has("notag") {
		user, _, _ = strings.Cut(user, "+")
	}
	if o.has("domain") {
		domain = c.Config.Domains.Trim(domain)
	}
	key := user + "@" + domain
	switch {
	case o.has("host"), o.has("domain"):
		key = domain
	case o.has("user"):
		key = user
	}
	if !o.has("case") {
		key = strings.ToLower(key)
	}
	return key
}

var linkHead = regexp.MustCompile(`(?i)^https?://`)

func hashedURIs(c *Context, args []string) float64 {
	o := readHashOptions(arg(args, 1), "sha1/max=10")
	var keys []string
	for _, u := range c.Message.URIs() {
		if linkHead.MatchString(u) {
			if !o.has("case") {
				u = strings.ToLower(u)
			}
			keys = append(keys, u)
		}
	}
	return c.hashListed(keys, arg(args, 0), arg(args, 2), o)
}

// hashedBody looks up what an expression finds in the text, its first group if it has one.
func hashedBody(c *Context, args []string) float64 {
	o := readHashOptions(arg(args, 1), "sha1/max=10")
	re := c.pattern(arg(args, 2))
	if re == nil || c.Lists == nil {
		return 0
	}
	var keys []string
	for _, line := range c.Message.Body() {
		for _, found := range c.Matcher.All(re, line, o.most()-len(keys)) {
			if !o.has("case") {
				found = strings.ToLower(found)
			}
			keys = append(keys, found)
		}
	}
	return c.hashListed(keys, arg(args, 0), arg(args, 3), o)
}

func hashedFiles(c *Context, args []string) float64 {
	o := readHashOptions(arg(args, 1), "sha256/max=10")
	if c.Lists == nil {
		return 0
	}
	var keys []string
	for _, p := range c.Message.Tree().Find(true, nil) {
		if kind := p.Effective(); kind != "text/plain" && kind != "text/html" && len(keys) < o.most() {
			keys = append(keys, p.Decode())
		}
	}
	return c.hashListed(keys, arg(args, 0), arg(args, 2), o)
}
