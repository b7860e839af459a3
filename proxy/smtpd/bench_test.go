package smtpd_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"testing"
)

// BenchmarkChunk takes 8 MiB in from the wire, in clear and by TLS. They are out of sequence and discarded, so that
// only the input is measured.
func BenchmarkChunk(b *testing.B) {
	text := bytes.Repeat([]byte("0123456789012345678901234567890123456789012345678901234567890123456789\r\n"), 8<<20/72)
	for _, mode := range []string{"clear", "implicit"} {
		b.Run(mode, func(b *testing.B) {
			door := newBench(b, map[string]string{"tls": mode, "max-errors": "1000000", "max-commands": "1000000"})
			conn, err := net.Dial("tcp", door.listen(b))
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			if mode == "implicit" {
				conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
			}
			in := bufio.NewReader(conn)
			expect := func(want int) {
				if got := readCode(in); got != want {
					b.Fatalf("%d, want %d", got, want)
				}
			}
			expect(220)
			fmt.Fprint(conn, "EHLO a.example\r\n")
			expect(250)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				fmt.Fprintf(conn, "BDAT %d LAST\r\n", len(text))
				if _, err := conn.Write(text); err != nil {
					b.Fatal(err)
				}
				expect(503)
			}
		})
	}
}
