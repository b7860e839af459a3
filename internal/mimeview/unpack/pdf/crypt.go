package pdf

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rc4"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"strconv"
)

// method is how strings or streams are encrypted.
type method int

const (
	identity method = iota
	rc4Method
	aesMethod // with a key for each object
	aes256    // with the file's own key
)

// keyring decrypts what a file holds. ISO 32000-2, 7.6
type keyring struct {
	key              []byte
	strings, streams method
	object           int // of the encryption dictionary itself, whose strings are plain
	plainMetadata    bool
}

// padding is what a password is filled up with. ISO 32000-2, 7.6.4.3, algorithm 2
const padding = "\x28\xbf\x4e\x5e\x4e\x75\x8a\x41\x64\x00\x4e\x56\xff\xfa\x01\x08\x2e\x2e\x00\xb6\xd0\x68\x3e\x80\x2f\x0c\xa9\xfe\x64\x53\x69\x7a"

// security is the encryption dictionary. ISO 32000-2, tables 20 and 21
type security struct {
	version, revision, bits int
	o, u, ue, id            string
	permissions             uint32
	strings, streams        method
	plainMetadata           bool
	object                  int
}

// unlock looks for the encryption dictionary and tries the passwords, the empty one first: readers try that unasked. used
// is the one that fits.
func unlock(b []byte, passwords []string) (k *keyring, used string, ok bool) {
	id := firstID(b)
	at := len(b)
	for range maxSecurity { // the newest revision is the last; one that leads nowhere is passed over as readers do
		if at = bytes.LastIndex(b[:at], []byte(encryptKey)); at < 0 {
			break
		}
		s, found := readSecurity(b, at)
		if s.id = id; !found {
			continue
		}
		for _, password := range append([]string{""}, passwords...) {
			if key := s.fileKey(password); key != nil {
				return &keyring{key: key, strings: s.strings, streams: s.streams, object: s.object, plainMetadata: s.plainMetadata}, password, true
			}
		}
	}
	return nil, "", false
}

const (
	encryptKey  = "/Encrypt"
	maxSecurity = 16
	// maxDictionary is how many octets of an encryption dictionary are read.
	maxDictionary = 16 << 10
)

// fileKey gives the key if the password is right.
func (s *security) fileKey(password string) []byte {
	if s.revision >= 5 {
		return s.fileKey256([]byte(password[:min(len(password), 127)]))
	}
	n := 5
	if s.revision >= 3 {
		n = s.bits / 8
	}
	complete := len(s.o) >= 32 && len(s.u) >= 16
	if n < 5 || n > 16 || !complete {
		return nil
	}
	key := s.keyOf(password, n)
	if !hmac.Equal(s.proof(key)[:16], []byte(s.u[:16])) {
		return nil
	}
	return key
}

// keyOf is the key of n octets that a password gives. ISO 32000-1, 7.6.3.3, algorithm 2
func (s *security) keyOf(password string, n int) []byte {
	h := md5.New()
	h.Write([]byte((password + padding)[:32]))
	h.Write([]byte(s.o[:32]))
	h.Write(binary.LittleEndian.AppendUint32(nil, s.permissions))
	h.Write([]byte(s.id))
	if s.revision >= 4 && s.plainMetadata {
		h.Write([]byte("\xff\xff\xff\xff"))
	}
	key := h.Sum(nil)
	if s.revision >= 3 {
		for range 50 {
			sum := md5.Sum(key[:n])
			key = sum[:]
		}
	}
	return key[:n]
}

// proof is what /U has for this key. ISO 32000-1, 7.6.3.4, algorithms 4 and 5
func (s *security) proof(key []byte) []byte {
	if s.revision < 3 {
		return crypted(key, []byte(padding))
	}
	sum := md5.Sum([]byte(padding + s.id))
	proof := crypted(key, sum[:])
	for i := range byte(19) {
		turned := bytes.Clone(key)
		for at := range turned {
			turned[at] ^= i + 1
		}
		proof = crypted(turned, proof)
	}
	return proof
}

// fileKey256 is ISO 32000-2, 7.6.4.3.3, algorithm 2.A, for the user's password.
func (s *security) fileKey256(password []byte) []byte {
	if len(s.u) < 48 || len(s.ue) < 32 {
		return nil
	}
	hash := func(salt string) []byte {
		if s.revision == 5 {
			sum := sha256.Sum256(append(bytes.Clone(password), salt...))
			return sum[:]
		}
		return hash2B(password, salt)
	}
	if !hmac.Equal(hash(s.u[32:40]), []byte(s.u[:32])) {
		return nil
	}
	block, err := aes.NewCipher(hash(s.u[40:48]))
	if err != nil {
		return nil
	}
	key := make([]byte, 32)
	cipher.NewCBCDecrypter(block, make([]byte, 16)).CryptBlocks(key, []byte(s.ue[:32]))
	return key
}

// hash2B is ISO 32000-2, 7.6.4.3.4, algorithm 2.B.
func hash2B(password []byte, salt string) []byte {
	sum := sha256.Sum256(append(bytes.Clone(password), salt...))
	k := sum[:]
	for round := 0; ; round++ {
		k1 := bytes.Repeat(append(bytes.Clone(password), k...), 64)
		block, err := aes.NewCipher(k[:16])
		if err != nil {
			return nil
		}
		cipher.NewCBCEncrypter(block, k[16:32]).CryptBlocks(k1, k1)
		rest := 0
		for _, c := range k1[:16] {
			rest += int(c)
		}
		switch rest % 3 { // 256 is 1 in this ring, so the number is the sum of its octets
		case 0:
			one := sha256.Sum256(k1)
			k = one[:]
		case 1:
			one := sha512.Sum384(k1)
			k = one[:]
		default:
			one := sha512.Sum512(k1)
			k = one[:]
		}
		if last := int(k1[len(k1)-1]); round >= 63 && last <= round-31 || round > 400 {
			return k[:32]
		}
	}
}

func crypted(key, b []byte) []byte {
	out := make([]byte, len(b))
	if c, err := rc4.NewCipher(key); err == nil {
		c.XORKeyStream(out, b)
	}
	return out
}

// open decrypts a string or stream of an object. ISO 32000-2, 7.6.3.2, algorithm 1 and 1.A
func (k *keyring) open(how method, object, generation int, b []byte) []byte {
	key := k.key
	if how == rc4Method || how == aesMethod {
		h := md5.New()
		h.Write(key)
		h.Write([]byte{byte(object), byte(object >> 8), byte(object >> 16), byte(generation), byte(generation >> 8)})
		if how == aesMethod {
			h.Write([]byte("sAlT"))
		}
		key = h.Sum(nil)[:min(len(k.key)+5, 16)]
	}
	switch how {
	case identity:
		return b
	case rc4Method:
		return crypted(key, b)
	}
	if len(b) < 32 {
		return nil
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil
	}
	iv, body := b[:16], b[16:len(b)/16*16]
	out := make([]byte, len(body))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(out, body)
	if pad := int(out[len(out)-1]); pad >= 1 && pad <= 16 {
		out = out[:len(out)-pad]
	}
	return out
}

// readSecurity reads what /Encrypt leads to, in a trailer or cross-reference stream.
func readSecurity(b []byte, at int) (s security, ok bool) {
	from := at + len(encryptKey)
	if from < len(b) && isRegular(b[from]) { // /EncryptMetadata
		return s, false
	}
	l := lexer{b: b[:min(len(b), from+maxDictionary)], at: from}
	first, second, third := l.next(), l.next(), l.next()
	if first.kind == number && second.kind == number && third.value == "R" {
		s.object = integer(first.value)
		if from = objectAt(b, first.value, second.value); from < 0 {
			return s, false
		}
	}
	s.read(&lexer{b: b[:min(len(b), from+maxDictionary)], at: from})
	return s, s.version > 0
}

// objectAt gives the place behind "12 0 obj", the last one.
func objectAt(b []byte, object, generation string) int {
	head := []byte(object + " " + generation + " obj")
	for at := bytes.LastIndex(b, head); at >= 0; at = bytes.LastIndex(b[:at], head) {
		if at == 0 || !isRegular(b[at-1]) {
			return at + len(head)
		}
	}
	return -1
}

// firstID is the first of the two strings of /ID.
func firstID(b []byte) string {
	at := len(b)
	for range maxSecurity {
		if at = bytes.LastIndex(b[:at], []byte("/ID")); at < 0 {
			break
		}
		l := lexer{b: b[:min(len(b), at+maxDictionary)], at: at + 3}
		if t := l.next(); t.kind == open && t.value == "[" {
			if t = l.next(); t.kind == text {
				return t.value
			}
		}
	}
	return ""
}

// read takes the dictionary in. A filter of /CF has its method in /CFM.
func (s *security) read(l *lexer) {
	d := cryptDictionary{security: s, filters: map[string]method{"Identity": identity}, lengths: map[string]int{}}
	s.bits, s.plainMetadata = 40, false

	for range 400 {
		t := l.next()
		if t.kind == end || d.token(t) {
			return
		}
	}
}

// cryptDictionary is an encryption dictionary (ISO 32000 section 7.6.1) that is being read.
type cryptDictionary struct {
	*security
	filters        map[string]method
	lengths        map[string]int
	streams, texts string
	depth          int
	key            string
	filter         string // of /CF that is being read
}

// anyNumber takes a number of the dictionary itself, or the length of the key of one of its crypt filters.
func (d *cryptDictionary) anyNumber(value string) {
	if d.depth == 1 {
		d.number(d.key, value)
	} else if d.key == "Length" {
		d.lengths[d.filter] = integer(value)
	}
}

// token takes the next one, and says whether the dictionary ends with it.
func (d *cryptDictionary) token(t token) (done bool) {
	if t.kind == name {
		d.named(t.value)
		return false
	}

	switch t.kind {
	case open, shut:
		if t.value != "<<" && t.value != ">>" { // a list
			return false
		}
		if d.bracket(t.kind) {
			return true
		}
	case text:
		d.text(d.key, t.value)
	case number:
		d.anyNumber(t.value)
	case word:
		if d.key == "EncryptMetadata" {
			d.plainMetadata = t.value == "false"
		}
	}
	d.key = ""

	return false
}

// bracket goes into a dictionary or out of one, and says whether that was the last.
func (d *cryptDictionary) bracket(k kind) (done bool) {
	if k == open {
		if d.depth++; d.depth == 3 {
			d.filter = d.key
		}
		return false
	}
	if d.depth--; d.depth > 0 {
		return false
	}
	d.settle(d.filters, d.lengths, d.streams, d.texts)

	return true
}

// named takes a name: a key, or the value of one.
func (d *cryptDictionary) named(v string) {
	key := d.key
	d.key = ""
	switch {
	case d.depth == 1 && key == "StmF":
		d.streams = v
	case d.depth == 1 && key == "StrF":
		d.texts = v
	case d.depth == 3 && key == "CFM":
		d.filters[d.filter] = map[string]method{"V2": rc4Method, "AESV2": aesMethod, "AESV3": aes256}[v]
	default:
		d.key = v
	}
}

func (s *security) text(key, v string) {
	switch key {
	case "O":
		s.o = v
	case "U":
		s.u = v
	case "UE":
		s.ue = v
	}
}

func (s *security) number(key, v string) {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return
	}
	switch key {
	case "V":
		s.version = int(n)
	case "R":
		s.revision = int(n)
	case "Length":
		s.bits = int(n)
	case "P":
		s.permissions = uint32(n)
	}
}

func (s *security) settle(filters map[string]method, lengths map[string]int, streams, texts string) {
	if s.version < 4 {
		s.strings, s.streams = rc4Method, rc4Method
		if s.version == 1 {
			s.bits = 40
		}
		return
	}
	s.strings, s.streams = filters[texts], filters[streams]
	if s.version == 4 { // the length of a filter is in octets, and some writers give bits
		s.bits = 128
		if n := lengths[streams]; s.streams == rc4Method && n >= 5 && n <= 16 {
			s.bits = n * 8
		}
	}
}
