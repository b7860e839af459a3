package app_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// honestSealer signs as senders do: DKIM (RFC 6376) and ARC (RFC 8617), the fields folded as the template has them. It
// has its own canonicalization, so that signer and verifier do not share code.
type honestSealer struct {
	key *rsa.PrivateKey
	// d are the domains that it signed for, as selector._domainkey.domain.
	names map[string]bool
}

func newHonestSealer() (*honestSealer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	return &honestSealer{key, map[string]bool{}}, err
}

// record is the key as DNS has it, in strings of a length that TXT may have.
func (s *honestSealer) record() string {
	der, _ := x509.MarshalPKIXPublicKey(&s.key.PublicKey)
	text := "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
	return `"` + text[:200] + `" "` + text[200:] + `"`
}

var (
	bodyHole = regexp.MustCompile(`\{bh\}`)
	sigHole  = regexp.MustCompile(`\{sig (\d+)\}`)
)

// seal fills in the signatures of a message, the lowest first, as they were put on top of each other.
func (s *honestSealer) seal(message []byte, author string, unsigned bool) []byte {
	header, body, _ := bytes.Cut(message, []byte("\r\n\r\n"))
	ended := bytes.Contains(message, []byte("\r\n\r\n"))
	fields := fieldsOf(string(header) + "\r\n")
	if !unsigned && !bytes.Contains(header, []byte("{sig ")) {
		plain := "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=" + author + "; s=k;\r\n h=from:to:subject:date:message-id; bh={bh};\r\n b={sig 72}\r\n"
		fields = append([]string{plain}, fields...)
	}
	for i := len(fields) - 1; i >= 0; i-- {
		hole := sigHole.FindStringSubmatch(fields[i])
		if hole == nil {
			continue
		}
		sum := sha256.Sum256(relaxedBody(body))
		if strings.HasSuffix(tagOf(fields[i], "c"), "/simple") {
			sum = sha256.Sum256(simpleBody(body))
		}
		fields[i] = bodyHole.ReplaceAllString(fields[i], base64.StdEncoding.EncodeToString(sum[:]))
		width, _ := strconv.Atoi(hole[1])
		at := sigHole.FindStringIndex(fields[i])
		bare := fields[i][:at[0]] + fields[i][at[1]:]
		digest := sha256.Sum256(s.signed(fields, i, bare))
		signature, err := rsa.SignPKCS1v15(nil, s.key, crypto.SHA256, digest[:])
		if err != nil {
			panic(err)
		}
		fields[i] = fields[i][:at[0]] + wrap(base64.StdEncoding.EncodeToString(signature), width, "\r\n\t") + fields[i][at[1]:]
	}
	out := strings.Join(fields, "")
	if !ended {
		return []byte(out)
	}
	return append([]byte(out+"\r\n"), body...)
}

func fieldsOf(header string) (fields []string) {
	for line := range strings.Lines(header) {
		if len(fields) > 0 && (line[0] == ' ' || line[0] == '\t') {
			fields[len(fields)-1] += line
		} else {
			fields = append(fields, line)
		}
	}
	return fields
}

func tagOf(field, name string) string {
	_, value, _ := strings.Cut(field, ":")
	for tag := range strings.SplitSeq(value, ";") {
		if key, v, ok := strings.Cut(tag, "="); ok && strings.TrimSpace(key) == name {
			return strings.Join(strings.Fields(v), "")
		}
	}
	return ""
}

func nameOf(field string) string {
	name, _, _ := strings.Cut(field, ":")
	return strings.ToLower(strings.TrimSpace(name))
}

// signed is what the signature in field i is over: RFC 6376 section 3.7, RFC 8617 section 5.1.1 for a seal.
func (s *honestSealer) signed(fields []string, i int, bare string) []byte {
	s.names[tagOf(bare, "s")+"._domainkey."+tagOf(bare, "d")] = true
	var out strings.Builder
	if nameOf(bare) == "arc-seal" {
		last, _ := strconv.Atoi(tagOf(bare, "i"))
		for n := 1; n <= last; n++ {
			for _, name := range []string{"arc-authentication-results", "arc-message-signature", "arc-seal"} {
				for k, f := range fields {
					if nameOf(f) == name && tagOf(f, "i") == strconv.Itoa(n) && k != i {
						out.WriteString(relaxedField(f) + "\r\n")
					}
				}
			}
		}
	} else {
		used := map[int]bool{i: true}
		for name := range strings.SplitSeq(tagOf(bare, "h"), ":") {
			for k := len(fields) - 1; k >= 0; k-- {
				if !used[k] && nameOf(fields[k]) == strings.ToLower(name) {
					used[k] = true
					out.WriteString(relaxedField(fields[k]) + "\r\n")
					break
				}
			}
		}
	}
	out.WriteString(relaxedField(bare))
	return []byte(out.String())
}

var whiteSpace = regexp.MustCompile(`[ \t]+`)

// relaxedField: RFC 6376 section 3.4.2.
func relaxedField(field string) string {
	name, value, _ := strings.Cut(field, ":")
	value = whiteSpace.ReplaceAllString(strings.ReplaceAll(value, "\r\n", ""), " ")
	return strings.ToLower(strings.TrimSpace(name)) + ":" + strings.Trim(value, " \t")
}

// relaxedBody: RFC 6376 section 3.4.4.
func relaxedBody(body []byte) []byte {
	if len(body) == 0 {
		return nil
	}
	lines := strings.Split(strings.TrimSuffix(string(body), "\r\n"), "\r\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(whiteSpace.ReplaceAllString(line, " "), " ")
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	if len(lines) == 0 {
		return nil
	}
	return []byte(strings.Join(lines, "\r\n") + "\r\n")
}

// simpleBody: RFC 6376 section 3.4.3.
func simpleBody(body []byte) []byte {
	for bytes.HasSuffix(body, []byte("\r\n")) {
		body = body[:len(body)-2]
	}
	return append(slices.Clone(body), '\r', '\n')
}

// clientOf gives each message its own network, so that none gains from the reputation of another.
func clientOf(n int) string { return fmt.Sprintf("198.%d.%d.7", 16+n/256, n%256) }

// zone is the senders' DNS data.
func (s *honestSealer) zone(cases []honestCase) string {
	var b strings.Builder
	names := []string{}
	for name := range s.names {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "%s TXT %s\n", name, s.record())
	}
	done := map[string]bool{}
	for _, c := range cases {
		for _, d := range append([]string{domainOf(c.from), c.author()}, c.senders...) {
			if d == "" || done[d] {
				continue
			}
			done[d] = true
			policy := "reject"
			if slices.Contains(c.open, d) {
				policy = "none"
			}
			fmt.Fprintf(&b, "%s TXT v=spf1 ip4:198.16.0.0/14 -all\n%s MX 10 mail.%s\nmail.%s A 198.18.0.7\n_dmarc.%s TXT v=DMARC1; p=%s\n", d, d, d, d, d, policy)
		}
	}
	b.WriteString("mail.example TXT v=spf1 ip4:198.16.0.0/14 -all\nmail.example MX 10 out1.mail.example\n")
	for n := range cases {
		fmt.Fprintf(&b, "%s PTR out%d.mail.example\nout%d.mail.example A %s\nout%d.mail.example TXT v=spf1 a -all\n", clientOf(n), n, n, clientOf(n), n)
	}
	return b.String()
}
