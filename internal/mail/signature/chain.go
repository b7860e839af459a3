package signature

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"postern/internal/mail"
)

// MaxSets is how many ARC sets a message may have: RFC 8617 section 4.2.1.
const MaxSets = 50

// The names of the fields of an ARC set: RFC 8617 section 4.1.
const (
	FieldAAR = "ARC-Authentication-Results"
	FieldAMS = "ARC-Message-Signature"
	FieldAS  = "ARC-Seal"
)

// ErrTooManySets says that there are more ARC sets than MaxSets.
var ErrTooManySets = fmt.Errorf("more than %d ARC sets", MaxSets)

// Set is one ARC set: RFC 8617 section 4.2.
type Set struct {
	AAR, AMS, AS mail.Field
	// Results is the payload of AAR, behind the instance.
	Results string
	Message *Signature
	Seal    *Seal
}

// Seal is an ARC-Seal field: RFC 8617 section 4.1.3.
type Seal struct {
	Algorithm, Domain, Selector string
	// CV is "none", "pass" or "fail".
	CV  mail.AuthVerdict
	Sig []byte
}

// Chain is the ARC sets of a message, instance 1 first.
type Chain []Set

// ReadChain collects the ARC sets of a header and holds them against RFC 8617 section 5.2 steps 1 to 3, but for the
// signatures. A message without any has an empty chain. With an error the sets are those that could be told apart.
func ReadChain(h *mail.Header) (Chain, error) {
	chain, err := collect(h)
	if err != nil {
		return chain, err
	}
	for i := range chain {
		if err := chain[i].read(); err != nil {
			return chain, fmt.Errorf("instance %d: %w", i+1, err)
		}
	}
	// section 5.2 step 2: a chain that was found broken stays so
	if n := len(chain); n > 0 && chain[n-1].Seal.CV == mail.AuthFail {
		return chain, errors.New("the newest seal says that the chain has failed before")
	}
	want := mail.AuthNone
	for i, s := range chain {
		// step 3 C: the first seal found no chain, each other one a good one
		if s.Seal.CV != want {
			return chain, fmt.Errorf("instance %d: cv=%s, want %s", i+1, s.Seal.CV, want)
		}
		want = mail.AuthPass
	}
	return chain, nil
}

// collect puts the fields into their sets: exactly one of each, instances without a gap (steps 3 A and 3 B).
func collect(h *mail.Header) (Chain, error) {
	sets := map[int]*Set{}
	highest := 0
	for _, f := range h.Fields {
		kind := strings.ToLower(f.Name)
		if kind != "arc-authentication-results" && kind != "arc-message-signature" && kind != "arc-seal" {
			continue
		}
		i, err := instance(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		if sets[i] == nil {
			sets[i] = &Set{}
		}
		highest = max(highest, i)
		place := &sets[i].AS
		switch kind {
		case "arc-authentication-results":
			place = &sets[i].AAR
		case "arc-message-signature":
			place = &sets[i].AMS
		}
		if place.Raw != nil {
			return nil, fmt.Errorf("instance %d: more than one %s", i, f.Name)
		}
		*place = f
	}
	var chain Chain
	for i := 1; i <= highest; i++ {
		s := sets[i]
		if s == nil {
			return chain, fmt.Errorf("instance %d is missing", i)
		}
		chain = append(chain, *s)
		switch {
		case s.AAR.Raw == nil:
			return chain, fmt.Errorf("instance %d: no %s", i, FieldAAR)
		case s.AMS.Raw == nil:
			return chain, fmt.Errorf("instance %d: no %s", i, FieldAMS)
		case s.AS.Raw == nil:
			return chain, fmt.Errorf("instance %d: no %s", i, FieldAS)
		}
	}
	return chain, nil
}

// instance reads i=. In AAR it comes first (section 4.1.1), in the others it is a tag like any.
func instance(f mail.Field) (int, error) {
	value := string(f.Raw[f.ValueAt:])
	text := ""
	if strings.EqualFold(f.Name, FieldAAR) {
		text, _, _ = cutInstance(value)
	} else {
		tags, err := ParseTags(value)
		if err != nil {
			return 0, err
		}
		text = tags["i"]
	}
	n, err := strconv.Atoi(text)
	switch {
	case err != nil || text == "" || text[0] < '1' || text[0] > '9' || n < 1:
		return 0, errors.New("no instance i= of 1 to 50")
	case n > MaxSets:
		return 0, ErrTooManySets
	}
	return n, nil
}

// maxInstance bounds "i=1" with white space and comments around it.
const maxInstance = 200

// cutInstance parts "i=1; payload": RFC 8617 section 4.1.1.
func cutInstance(value string) (number, payload string, ok bool) {
	front, payload, ok := strings.Cut(value, ";")
	if len(front) > maxInstance {
		return "", "", false
	}
	name, number, is := strings.Cut(withoutComments(front), "=")
	if !ok || !is || withoutSpace(name) != "i" {
		return "", "", false
	}
	return strings.Trim(number, " \t\r\n"), payload, true
}

// withoutComments drops comments: RFC 5322 section 3.2.2. One that is not closed stays, so that nothing reads it.
func withoutComments(text string) string {
	for {
		end := strings.IndexByte(text, ')')
		if end < 0 {
			return text
		}
		start := strings.LastIndexByte(text[:end], '(')
		if start < 0 {
			return text
		}
		text = text[:start] + " " + text[end+1:]
	}
}

// read reads the three fields of a set.
func (s *Set) read() (err error) {
	_, s.Results, _ = cutInstance(string(s.AAR.Raw[s.AAR.ValueAt:]))
	if s.Message, err = ParseMessageSignature(s.AMS); err != nil {
		return fmt.Errorf("%s: %w", FieldAMS, err)
	}
	if s.Seal, err = ParseSeal(s.AS); err != nil {
		return fmt.Errorf("%s: %w", FieldAS, err)
	}
	return nil
}

// ParseMessageSignature reads an ARC-Message-Signature field: that of DKIM without a version, RFC 8617 section 4.1.2.
func ParseMessageSignature(f mail.Field) (*Signature, error) {
	s := &Signature{Field: f, Length: -1}
	tags, err := ParseTags(string(f.Raw[f.ValueAt:]))
	if err != nil {
		return s, err
	}
	delete(tags, "i") // the instance here, never an identity
	if err := s.read(tags); err != nil {
		return s, err
	}
	for _, name := range s.Names {
		// section 4.1.2: seals are not signed by it, they sign it
		if name == "arc-seal" {
			return s, errors.New("h= names ARC-Seal")
		}
	}
	return s, nil
}

// ParseSeal reads an ARC-Seal field.
func ParseSeal(f mail.Field) (*Seal, error) {
	tags, err := ParseTags(string(f.Raw[f.ValueAt:]))
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"a", "b", "cv", "d", "s"} {
		if tags[name] == "" {
			return nil, fmt.Errorf("no %s= tag", name)
		}
	}
	// section 4.1.3: what is signed is given, not chosen
	for _, name := range []string{"h", "bh"} {
		if _, ok := tags[name]; ok {
			return nil, fmt.Errorf("%s= has no place there", name)
		}
	}
	s := &Signature{Domain: mail.ASCIIDomain(tags["d"]), Selector: mail.ASCIIDomain(tags["s"]), Algorithm: strings.ToLower(tags["a"])}
	if err := s.checkName(); err != nil {
		return nil, err
	}
	if err := s.checkAlgorithm(); err != nil {
		return nil, err
	}
	seal := &Seal{Algorithm: s.Algorithm, Domain: s.Domain, Selector: s.Selector, CV: mail.AuthVerdict(strings.ToLower(tags["cv"]))}
	if seal.CV != mail.AuthNone && seal.CV != mail.AuthPass && seal.CV != mail.AuthFail {
		return nil, errors.New("cv= is neither none nor pass nor fail")
	}
	if t, ok := tags["t"]; ok {
		if _, err := number(t); err != nil {
			return nil, errors.New("t= is not a number")
		}
	}
	if seal.Sig, err = decodeBase64(tags["b"]); err != nil {
		return nil, errors.New("b= is not base64")
	}
	return seal, nil
}

// HashSeals gives what each seal of the chain signs: the fields of all sets up to its own, in the order of RFC 8617
// section 5.1.1, its own b= emptied.
func (c Chain) HashSeals() [][]byte {
	var before bytes.Buffer
	hashes := make([][]byte, len(c))
	for i, s := range c {
		for _, f := range []mail.Field{s.AAR, s.AMS} {
			before.Write(canonicalField(Relaxed, f.Raw, f.ValueAt))
		}
		h := sha256.New()
		_, _ = h.Write(before.Bytes())
		_, _ = h.Write(canonicalSelf(Relaxed, s.AS))
		hashes[i] = h.Sum(nil)
		before.Write(canonicalField(Relaxed, s.AS.Raw, s.AS.ValueAt))
	}
	return hashes
}

// Newest gives the highest instance of a header's ARC sets, 0 without any, and whether its seal says that the chain has
// failed. It is for sealing: a chain that is not whole has a newest instance as well.
func Newest(h *mail.Header) (instances int, failed bool) {
	for _, f := range h.Fields {
		isSeal := strings.EqualFold(f.Name, FieldAS)
		if !isSeal && !strings.EqualFold(f.Name, FieldAMS) && !strings.EqualFold(f.Name, FieldAAR) {
			continue
		}
		i, err := instance(f)
		if err != nil || i < instances {
			continue
		}
		if i > instances {
			instances, failed = i, false
		}
		if isSeal {
			tags, err := ParseTags(string(f.Raw[f.ValueAt:]))
			failed = failed || err == nil && strings.EqualFold(tags["cv"], string(mail.AuthFail))
		}
	}
	return instances, failed
}
