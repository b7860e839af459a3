package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"
)

// A record is kept as JSON, which can hold neither octets that are no UTF-8 nor numbers that are none. Such an octet b is
// kept as the private character U+10FF00+b, so that facts come back as they were; those characters themselves are kept
// octet by octet.
const (
	octetBase  = 0x10FF00
	octetFirst = octetBase + 0x80
)

// encode writes a record.
func encode(record any) ([]byte, error) {
	text, err := json.Marshal(record)
	// json writes \ufffd for a broken octet; it may also stand there for other reasons
	if err == nil && !bytes.Contains(text, []byte(`\ufffd`)) && !hasOctets(text) && len(text) <= maxRecord {
		return text, nil
	}
	if len(text) <= maxRecord {
		text, err = json.Marshal(rewrite(record, hideOctets))
	}
	if len(text) > maxRecord {
		text, err = json.Marshal(rewrite(record, func(s string) string { return hideOctets(cut(s, maxText+64)) }))
	}
	if err == nil && len(text) > 6*maxRecord { // as NUL becomes \u0000
		err = fmt.Errorf("a record of %d octets", len(text))
	}
	return text, err
}

// decode reads what encode wrote.
func decode[T any](text []byte) (T, error) {
	var record T
	if err := json.Unmarshal(text, &record); err != nil {
		return record, fmt.Errorf("a record can't be read: %w", err)
	}
	if hasOctets(text) {
		record = rewrite(record, showOctets)
	}
	return record, nil
}

func hasOctets(text []byte) bool {
	return bytes.Contains(text, []byte("\xf4\x8f\xbe")) || bytes.Contains(text, []byte("\xf4\x8f\xbf"))
}

func hideOctets(s string) string {
	if utf8.ValidString(s) && !hasOctets([]byte(s)) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || r >= octetFirst {
			for _, c := range []byte(s[i : i+n]) {
				b.WriteRune(octetBase + rune(c))
			}
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

func showOctets(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r >= octetFirst {
			b.WriteByte(byte(r - octetBase))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// rewrite gives a copy of a record in which f has been over every text and every number is one.
func rewrite[T any](record T, f func(string) string) T {
	return rewritten(reflect.ValueOf(record), f).Interface().(T)
}

// rewritten gives a copy of a record in which f has been over every text and every number is one.
func rewritten(v reflect.Value, f func(string) string) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)

	switch v.Kind() {
	case reflect.String:
		out.SetString(f(v.String()))
	case reflect.Float64:
		out.SetFloat(finite(v.Float()))
	case reflect.Struct:
		switch v.Interface().(type) {
		case time.Time, netip.Addr, netip.AddrPort: // closed to us, and without text from outside
			return out
		}
		for i := range v.NumField() {
			out.Field(i).Set(rewritten(v.Field(i), f))
		}
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		if !v.IsNil() {
			rewriteInside(out, v, f)
		}
	}

	return out
}

// rewriteInside sets out to a copy of what v, which is not nil, leads to.
func rewriteInside(out, v reflect.Value, f func(string) string) {
	switch v.Kind() {
	case reflect.Pointer:
		out.Set(reflect.New(v.Type().Elem()))
		out.Elem().Set(rewritten(v.Elem(), f))
	case reflect.Slice:
		out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			out.Index(i).Set(rewritten(v.Index(i), f))
		}
	case reflect.Map:
		out.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
		for _, k := range v.MapKeys() {
			out.SetMapIndex(rewritten(k, f), rewritten(v.MapIndex(k), f))
		}
	case reflect.Interface:
		out.Set(rewritten(v.Elem(), f))
	}
}

// finite makes a number of what JSON has no word for.
func finite(n float64) float64 {
	switch {
	case math.IsNaN(n):
		return 0
	case math.IsInf(n, 0):
		return math.Copysign(math.MaxFloat64, n)
	}

	return n
}
