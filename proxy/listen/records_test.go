package listen_test

import (
	"bytes"
	"io"
	"net"
	"testing"

	"postern/proxy/listen"
)

// pieces is a connection that gives what it has in reads of at most so many octets.
type pieces struct {
	net.Conn
	all   []byte
	limit int
	reads int
}

func (c *pieces) Read(p []byte) (int, error) {
	if len(c.all) == 0 {
		return 0, io.EOF
	}
	c.reads++
	n := copy(p[:min(len(p), c.limit)], c.all)
	c.all = c.all[n:]
	return n, nil
}

func record(n int) []byte {
	return append([]byte{23, 3, 3, byte(n >> 8), byte(n)}, bytes.Repeat([]byte{'x'}, n)...)
}

// checkRecords reads a stream in reads of so many octets, and fails if one goes past a record or an octet is lost.
func checkRecords(t *testing.T, stream []byte, room, limit int) (reads int) {
	t.Helper()
	below := &pieces{all: bytes.Clone(stream), limit: limit}
	c := listen.Records(below)
	p := make([]byte, room)
	var got []byte
	ends := map[int]bool{}
	for at := 0; at+5 <= len(stream); {
		at += 5 + int(stream[at+3])<<8 + int(stream[at+4])
		ends[at] = true
	}
	for {
		n, err := c.Read(p)
		for at := len(got) + 1; at < len(got)+n; at++ {
			if ends[at] {
				t.Fatalf("a read of %d octets at %d goes past a record's end at %d", n, len(got), at)
			}
		}
		got = append(got, p[:n]...)
		if err != nil {
			break
		}
	}
	if !bytes.Equal(got, stream) {
		t.Fatalf("%d octets of %d", len(got), len(stream))
	}
	return below.reads
}

func TestRecords(t *testing.T) {
	var stream []byte
	for _, n := range []int{16384, 16384, 0, 1, 200, 600, 507, 508, 16640, 3} {
		stream = append(stream, record(n)...)
	}
	for _, room := range []int{1, 5, 512, 517, 40000} {
		for _, limit := range []int{1, 3, 100, 40000} {
			checkRecords(t, stream, room, limit)
		}
	}
	if reads := checkRecords(t, bytes.Repeat(record(16384), 50), 17000, 40000); reads > 110 {
		t.Errorf("%d reads for 50 records", reads)
	}
	if reads := checkRecords(t, bytes.Repeat(record(30), 100), 17000, 40000); reads > 20 {
		t.Errorf("%d reads for 100 small records", reads)
	}
}

func FuzzRecords(f *testing.F) {
	f.Add(append(record(3), record(700)...), uint8(5), uint8(7))
	f.Add([]byte{1, 2, 3, 0, 0, 9}, uint8(1), uint8(255))
	f.Fuzz(func(t *testing.T, stream []byte, room, limit uint8) {
		checkRecords(t, stream, int(room)+1, int(limit)+1)
	})
}
