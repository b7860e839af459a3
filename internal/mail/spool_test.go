package mail

import (
	"bytes"
	"io"
	"testing"
)

// However a message comes in, octet by octet or in large pieces, in memory or in a file, it is the same afterwards.
func TestSpoolInPieces(t *testing.T) {
	t.Parallel()
	want := bytes.Repeat([]byte("0123456789abcdef\r\n"), 2*MemoryLimit/18)
	for _, piece := range []int{1, 2, 1000, spoolBlock - 1, spoolBlock, spoolBlock + 1, MemoryLimit, MemoryLimit + 1, len(want)} {
		for _, size := range []int{0, 1, MemoryLimit - 1, MemoryLimit, MemoryLimit + 1, MemoryLimit + spoolBlock, len(want)} {
			s := Spool{Dir: t.TempDir()}
			for rest := want[:size]; len(rest) > 0; {
				n := min(piece, len(rest))
				if took, err := s.Write(rest[:n]); took != n || err != nil {
					t.Fatal(took, err)
				}
				rest = rest[n:]
			}
			m, err := s.Finish()
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(m.Open())
			if err != nil || !bytes.Equal(got, want[:size]) || m.Size() != int64(size) {
				t.Errorf("%d octets in pieces of %d: got %d, %v", size, piece, len(got), err)
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
