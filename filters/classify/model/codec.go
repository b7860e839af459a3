package model

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
)

// ErrCorrupt says that octets are none that this package wrote: of another version, cut short or changed.
var ErrCorrupt = errors.New("not a classifier's data, or damaged")

// maxFeatures bounds what is read of one list of slots: more than a message can set.
const maxFeatures = 1 << 16

// Append writes a lesson without its ID and label: what each view sees of the message, and its passage. A lesson takes
// about 12 KB.
func (l *Lesson) Append(b []byte) []byte {
	for _, slots := range l.Features {
		b = appendSlots(b, slots)
	}

	return appendSlots(appendSlots(b, l.Passage.Raw), l.Passage.Tokens)
}

// appendSlots writes ascending slots as the differences between them (varints), behind their number.
func appendSlots(b []byte, slots []uint32) []byte {
	b = binary.AppendUvarint(b, uint64(len(slots)))
	before := uint32(0)
	for _, s := range slots {
		b = binary.AppendUvarint(b, uint64(s-before))
		before = s
	}

	return b
}

// Read reads what Append wrote.
func (l *Lesson) Read(b []byte) (err error) {
	lists := []*[]uint32{&l.Features[Header], &l.Features[Raw], &l.Features[Tokens], &l.Passage.Raw, &l.Passage.Tokens}
	for _, list := range lists {
		if *list, b, err = readSlots(b); err != nil {
			return err
		}
	}
	if len(b) > 0 {
		return ErrCorrupt
	}

	return nil
}

func readSlots(b []byte) (slots []uint32, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > maxFeatures || n > uint64(len(b)) {
		return nil, nil, ErrCorrupt
	}
	b = b[size:]
	if n == 0 {
		return nil, b, nil
	}
	slots = make([]uint32, n)
	at := uint64(0)
	for i := range slots {
		step, size := binary.Uvarint(b)
		at += step
		inOrder := i == 0 || step > 0
		if size <= 0 || max(step, at) >= Slots || !inOrder {
			return nil, nil, ErrCorrupt
		}
		slots[i], b = uint32(at), b[size:]
	}

	return slots, b, nil
}

// form names the form of a written model. Constants of training are part of it: a model that was trained otherwise is not
// what the same lessons would give now.
const form = "postern classifier 3\n"

// modelSize is about the size of a written model, in octets.
const modelSize = int(Views)*Slots*8 + 6<<20

// WriteTo writes all that was learned. What ReadFrom makes of it learns and judges as this one does, bit by bit.
func (m *Model) WriteTo(w io.Writer) (int64, error) {
	b := append(make([]byte, 0, modelSize), form...)
	b = binary.LittleEndian.AppendUint64(b, uint64(m.ham))
	b = binary.LittleEndian.AppendUint64(b, uint64(m.spam))
	b = binary.LittleEndian.AppendUint64(b, uint64(m.run)<<1|bit(m.runOf))
	b = appendFloats(b, []float32{m.scale.a, m.scale.b})
	for i := range m.views {
		v := &m.views[i]
		b = binary.LittleEndian.AppendUint64(b, uint64(v.updates))
		b = appendFloats(b, []float32{v.bias, v.biasSum})
		b = appendFloats(appendFloats(b, v.weight), v.squares)
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(len(m.passages)))
	for _, p := range m.passages {
		b = appendSlots(appendSlots(b, p.Raw), p.Tokens)
	}
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	n, err := w.Write(b)

	return int64(n), err
}

func bit(b bool) uint64 {
	if b {
		return 1
	}

	return 0
}

func appendFloats(b []byte, all []float32) []byte {
	for _, f := range all {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}

	return b
}

// maxModel is the size of a written model with all its passages.
const maxModel = 64 << 20

// Read reads what WriteTo wrote. The error is ErrCorrupt for anything else.
func Read(r io.Reader) (*Model, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxModel))
	if err != nil {
		return nil, fmt.Errorf("read classifier: %w", err)
	}
	if len(b) < len(form)+4 || string(b[:len(form)]) != form {
		return nil, ErrCorrupt
	}
	sum := binary.LittleEndian.Uint32(b[len(b)-4:])
	if b = b[:len(b)-4]; crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) != sum {
		return nil, ErrCorrupt
	}

	d := &decoder{b: b[len(form):]}
	m := New()
	m.ham, m.spam = int(d.number()), int(d.number())
	run := d.number()
	m.run, m.runOf = int(run>>1), run&1 == 1
	d.floats(&m.scale.a, &m.scale.b)
	for i := range m.views {
		v := &m.views[i]
		v.updates = int(d.number())
		d.floats(&v.bias, &v.biasSum)
		d.all(v.weight)
		d.all(v.squares)
	}
	for range min(d.number(), maxPassages) {
		m.passages = append(m.passages, Passage{Raw: d.slots(), Tokens: d.slots()})
	}
	if d.err != nil || len(d.b) > 0 {
		return nil, ErrCorrupt
	}

	return m, nil
}

// decoder reads values until there are too few octets.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) next(n int) []byte {
	if len(d.b) < n {
		d.b, d.err = nil, ErrCorrupt
		return make([]byte, n)
	}
	b := d.b[:n]
	d.b = d.b[n:]

	return b
}

func (d *decoder) number() uint64 { return binary.LittleEndian.Uint64(d.next(8)) }

func (d *decoder) floats(all ...*float32) {
	for _, f := range all {
		*f = math.Float32frombits(binary.LittleEndian.Uint32(d.next(4)))
	}
}

func (d *decoder) all(to []float32) {
	b := d.next(4 * len(to))
	for i := range to {
		to[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
}

func (d *decoder) slots() []uint32 {
	slots, rest, err := readSlots(d.b)
	if err != nil {
		d.b, d.err = nil, ErrCorrupt
		return nil
	}
	d.b = rest

	return slots
}
