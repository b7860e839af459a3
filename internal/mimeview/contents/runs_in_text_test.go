package contents

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"postern/internal/mail"
)

// Random octets in base64 that no header speaks of, half of them with the letters of a program in front: no finding of content.
func TestNothingIsFoundInRandomRuns(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 5))
	bad := map[string]int{}
	for n := range 100000 {
		size := 60 + n%400
		o := make([]byte, size)
		for i := range o {
			o[i] = byte(random.Uint32())
		}
		if n%2 == 0 {
			o[0], o[1] = 'M', 'Z'
		}
		c := base64.StdEncoding.EncodeToString(o)
		var b strings.Builder
		b.WriteString("From: a@a.example\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nhello\r\n\r\n")
		for i := 0; i < len(c); i += 64 {
			b.WriteString(c[i:min(i+64, len(c))] + "\r\n")
		}
		m := mail.NewMessage([]byte(b.String()))
		f, err := Of(m).Read(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if len(f.Limits)+len(f.Unscannable)+len(f.Encrypted) > 0 {
			bad[fmt.Sprint(f.Limits, f.Unscannable, f.Encrypted)]++
		}
		for _, i := range f.Items {
			if i.Types[0].Name != "application/octet-stream" && i.Types[0].Class != "text" {
				bad[i.Types[0].Name]++
			}
			for _, fl := range i.Flags {
				bad[fmt.Sprint(fl.Kind)]++
			}
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(bad) > 0 {
		t.Error(bad)
	}
}
