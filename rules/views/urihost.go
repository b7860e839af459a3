package views

import (
	"fmt"
	"strconv"
	"strings"
)

// hostForms gives another spelling of a host: a network address as four numbers, a bare word as what browsers make of it.
func hostForms(proto, host, name, user, port string, d *Domains) string {
	if address := numericHost(host); address != "" {
		return address
	}
	word := strings.TrimPrefix(name, "www.")
	if word == "" || strings.Contains(word, ".") {
		return ""
	}
	completed := proto == "http://" && user == "" && port == "80"
	if completed && name != "localhost" && !d.Valid(name) {
		return "www." + word + ".com"
	}
	return ""
}

// numericHost reads a network address that is written as numbers of any base, "" for what is none.
func numericHost(host string) string {
	if quad := quadOf(host); quad != "" {
		return quad
	}
	if hex, ok := strings.CutPrefix(strings.ToLower(host), "0x"); ok && hex != "" && isHex(hex) {
		n, _ := strconv.ParseUint(hex[max(0, len(hex)-8):], 16, 64)
		return longAddress(n)
	}
	if host != "" && strings.Trim(host, "0123456789") == "" {
		n, err := strconv.ParseUint(host, 10, 64)
		if err != nil {
			n = 1<<64 - 1
		}
		return longAddress(n)
	}
	return ""
}

func isHex(text string) bool {
	for i := range len(text) {
		if hexValue(text[i]) < 0 {
			return false
		}
	}
	return true
}

// longAddress writes a number as an address. Of more than 32 bits it takes the first four octets.
func longAddress(n uint64) string {
	hex := fmt.Sprintf("%08x", n)
	if len(hex)%2 == 1 {
		hex += "0"
	}
	var parts []string
	for i := 0; i < 8; i += 2 {
		v, _ := strconv.ParseUint(hex[i:i+2], 16, 8)
		parts = append(parts, strconv.FormatUint(v, 10))
	}
	return strings.Join(parts, ".")
}

// quadOf reads four numbers, each decimal, octal or hexadecimal.
func quadOf(host string) string {
	fields := strings.Split(strings.ToLower(host), ".")
	if len(fields) != 4 {
		return ""
	}
	for i, f := range fields {
		hex, isX := strings.CutPrefix(f, "0x")
		switch {
		case isX && hex != "" && isHex(hex):
			n, _ := strconv.ParseUint(hex[max(0, len(hex)-15):], 16, 64)
			fields[i] = strconv.FormatUint(n, 10)
		case f == "" || strings.Trim(f, "0123456789") != "":
			return ""
		case f[0] == '0':
			fields[i] = octal(f)
		}
	}
	return strings.Join(fields, ".")
}

// octal reads a number with zeros in front: octal if it can be an octet.
func octal(text string) string {
	digits := strings.TrimLeft(text, "0")
	if digits == "" {
		return ""
	}
	if n, err := strconv.ParseUint(digits, 8, 8); err == nil {
		return strconv.FormatUint(n, 10)
	}
	return digits
}
