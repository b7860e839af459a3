package unpack

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"runtime"
	"testing"
)

// noise is n octets that are nothing, behind the front of a JPEG.
func noise(n int) []byte {
	b := make([]byte, n)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	copy(b, "\xff\xd8\xff\xe0\x00\x10JFIF\x00")
	return b
}

// A large picture is not taken into memory; a zip behind it is found all the same.
func TestALargePictureIsNotKept(t *testing.T) {
	picture := noise(30 << 20)
	var packed bytes.Buffer
	z := zip.NewWriter(&packed)
	f, err := z.Create("evil.exe")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.Write([]byte("MZ and so on"))
	_ = z.Close()
	both := append(append([]byte(nil), picture...), packed.Bytes()...)
	for name, c := range map[string]struct {
		content []byte
		objects int
		limit   uint64
	}{"picture": {picture, 1, 4 << 20}, "picture and zip": {both, 2, 80 << 20}} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		objects := 0
		r := Walk(context.Background(), []string{"photo.jpg"}, bytes.NewReader(c.content), int64(len(c.content)), Options{}, func(o *Object) {
			if objects == 0 && (o.Hash != sha256.Sum256(c.content) || o.Size != int64(len(c.content))) {
				t.Errorf("%s: hash or size is of something else", name)
			}
			objects++
		})
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > c.limit {
			t.Errorf("%s: %d octets of memory", name, took)
		}
		if objects != c.objects || len(r.Limits) > 0 || len(r.Unscannable) > 0 {
			t.Errorf("%s: %d objects, %v", name, objects, r)
		}
	}
}
