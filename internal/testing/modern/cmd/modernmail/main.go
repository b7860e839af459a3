// Command modernmail writes the messages of internal/testing/modern to a folder, with index.csv (how each comes) and
// zone.txt (the DNS data that makes them what they are), and answers DNS questions from it if it is told to:
//
//	go run ./internal/testing/modern/cmd/modernmail [-serve 127.0.0.1:5300] OUTDIR
//
// With "[dns] servers" set to that address, "postern check --ip --helo --from --rcpt" as in the index finds SPF, DKIM and
// DMARC as a gateway would.
package main

import (
	"context"
	"encoding/csv"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/miekg/dns"

	ours "postern/internal/dns"
	"postern/internal/testing/modern"
)

func main() {
	serve := flag.String("serve", "", "`address` to answer DNS questions at, until it is interrupted")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "modernmail: which folder?")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *serve); err != nil {
		fmt.Fprintln(os.Stderr, "modernmail:", err)
		os.Exit(1)
	}
}

func run(dir, serve string) error {
	all, err := modern.Messages()
	if err != nil {
		return err
	}
	zone, err := modern.Zone(all)
	if err != nil {
		return err
	}
	if err := write(dir, all); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "zone.txt"), []byte(zone), 0o600); err != nil {
		return err
	}
	if serve == "" {
		return nil
	}
	z, err := ours.ParseZone(zone)
	if err != nil {
		return err
	}
	answer := func(w dns.ResponseWriter, q *dns.Msg) {
		if r, err := z.Exchange(context.Background(), q, "udp", ""); err == nil {
			_ = w.WriteMsg(r)
		}
	}
	return (&dns.Server{Addr: serve, Net: "udp", Handler: dns.HandlerFunc(answer)}).ListenAndServe()
}

func write(dir string, all []modern.Message) error {
	index, err := os.Create(filepath.Join(dir, "index.csv"))
	if os.IsNotExist(err) {
		if err = os.MkdirAll(dir, 0o700); err == nil {
			index, err = os.Create(filepath.Join(dir, "index.csv"))
		}
	}
	if err != nil {
		return err
	}
	w := csv.NewWriter(index)
	rows := [][]string{{"file", "set", "shape", "language", "octets", "ip", "helo", "from", "rcpt", "spf", "dkim", "dmarc"}}
	for _, m := range all {
		file := filepath.Join(string(m.Set), m.Name+".eml")
		if err := os.MkdirAll(filepath.Join(dir, string(m.Set)), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file), m.Octets, 0o600); err != nil {
			return err
		}
		e := m.Envelope
		rows = append(rows, []string{file, string(m.Set), m.Shape, m.Language, strconv.Itoa(len(m.Octets)), e.Client.String(), e.Helo, "<" + e.From + ">", e.To,
			string(m.Auth.SPF), string(m.Auth.DKIM), string(m.Auth.DMARC)})
	}
	if err := w.WriteAll(rows); err != nil {
		return err
	}
	return index.Close()
}
