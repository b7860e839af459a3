package pop3d_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"testing"

	"postern/proxy/access"
	"postern/proxy/pop3d"
)

// BenchmarkRetr fetches a message of 8 MiB: from the server itself, and through the door, clean and masked.
func BenchmarkRetr(b *testing.B) {
	line := strings.Repeat("0123456789", 7) + "\r\n"
	text := "From: a@b.example\r\n\r\n" + strings.Repeat(line, 8<<20/72)
	drop := newMaildrop(b, []string{text, text + "evil\r\n"})
	plain := newHouse(b, access.Backend{Address: drop.address}, nil)
	secured := newHouse(b, access.Backend{Address: drop.address}, func(o *pop3d.Options) { o.Implicit = true })
	for _, c := range []struct{ name, address, command string }{
		{"direct", drop.address, "RETR 1"}, {"known clean", plain.address, "RETR 1"}, {"masked", plain.address, "RETR 2"},
		{"known clean by TLS", secured.address, "RETR 1"},
	} {
		b.Run(c.name, func(b *testing.B) {
			conn, _ := dialLine(b, c.address)
			var stream io.ReadWriter = conn
			if strings.HasSuffix(c.name, "TLS") {
				stream = tls.Client(conn, secured.client)
			}
			fmt.Fprint(stream, "USER c@d.example\r\nPASS c4nary\r\n")
			buf, tail := make([]byte, 64<<10), []byte{}
			until := func(end string) {
				for !bytes.HasSuffix(tail, []byte(end)) {
					n, err := stream.Read(buf)
					if err != nil {
						b.Fatal(err)
					}
					tail = append(tail[max(0, len(tail)-8):], buf[:n]...)
				}
				tail = tail[:0]
			}
			for range 3 { // greeting and two answers, in as many pieces as they come
				if n, err := stream.Read(buf); err != nil || bytes.Count(buf[:n], []byte("\n")) == 3 {
					break
				} else if bytes.Contains(buf[:n], []byte("Logged in")) {
					break
				}
			}
			fmt.Fprintf(stream, "%s\r\n", c.command)
			until("\r\n.\r\n")
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				fmt.Fprintf(stream, "%s\r\n", c.command)
				until("\r\n.\r\n")
			}
		})
	}
}
