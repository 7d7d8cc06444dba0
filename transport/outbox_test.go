package transport

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// TestOutboxKeepsFrames: whatever is added, by whomever, comes out whole and once; small frames of one caller stay in order, and so do large ones.
func TestOutboxKeepsFrames(t *testing.T) {
	sizes := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(largeBody-1, largeBody+1), rapid.Just(slice+1)), 1, 8)
	rapid.Check(t, func(t *rapid.T) {
		callers := rapid.SliceOfN(sizes, 1, 3).Draw(t, "callers")
		reader, writer := net.Pipe()
		o := newOutbox(1 << 30)
		var ran, added sync.WaitGroup
		ran.Go(func() {
			if err := o.run(writer, func(int, bool) {}); err != nil {
				t.Errorf("run: %v", err)
			}
		})
		total := 0
		for i, sizes := range callers {
			total += len(sizes)
			added.Go(func() {
				for j, size := range sizes {
					h := head{typ: frameRequest, code: uint8(i), call: uint64(j + 1), due: 1, body: size}
					if err := o.add(h, bytes.Repeat([]byte{byte(i*16 + j)}, size), nil, 0); err != nil {
						t.Errorf("add: %v", err)
					}
				}
			})
		}
		checkFrames(t, bufio.NewReader(reader), callers, total)
		added.Wait()
		o.close()
		ran.Wait()
	})
}

func checkFrames(t *rapid.T, r *bufio.Reader, callers [][]int, total int) {
	type lane struct {
		caller int
		large  bool
	}
	last := map[lane]uint64{}
	for range total {
		b, err := r.Peek(headSize)
		if err != nil {
			t.Fatal(err)
		}
		h, err := parseHead(b, frameCeiling)
		if err != nil {
			t.Fatal(err)
		}
		r.Discard(headSize)
		body := make([]byte, h.body)
		if _, err := io.ReadFull(r, body); err != nil {
			t.Fatal(err)
		}
		caller, index := int(h.code), int(h.call-1)
		if len(body) != callers[caller][index] || bytes.Count(body, []byte{byte(caller*16 + index)}) != len(body) {
			t.Fatalf("frame %d of caller %d came out with %d bytes, or others", index, caller, len(body))
		}
		l := lane{caller, h.body >= largeBody}
		if h.call <= last[l] {
			t.Fatalf("frame %d of caller %d after %d", h.call, caller, last[l])
		}
		last[l] = h.call
	}
}

func TestOutboxBounds(t *testing.T) {
	small := head{typ: frameRequest, call: 1, due: 1, body: 10}
	body := make([]byte, 10)
	o := newOutbox(3 * (headSize + 10))
	for range 3 {
		must(t, o.add(small, body, nil, 0))
	}
	if err := o.add(small, body, nil, 0); err != errFull {
		t.Errorf("fourth frame: %v, want errFull", err)
	}
	must(t, o.add(small, body, nil, headSize+10)) // with room beyond the limit
	o.close()
	if err := o.add(small, body, nil, 0); err != errBroken {
		t.Errorf("after close: %v, want errBroken", err)
	}

	o = newOutbox(100)
	huge := head{typ: frameRequest, call: 1, due: 1, body: largeBody}
	must(t, o.add(huge, make([]byte, largeBody), nil, 0)) // an empty outbox takes any frame
	if err := o.add(small, body, nil, 0); err != errFull {
		t.Errorf("behind a huge frame: %v, want errFull", err)
	}
}

// TestOutboxKnowsWhatWent: a frame has gone once it was handed to a Write, and not before.
func TestOutboxKnowsWhatWent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader, writer := net.Pipe()
		o := newOutbox(1 << 20)
		ended := make(chan error, 1)
		go func() { ended <- o.run(writer, func(int, bool) {}) }()
		frame := func(size int) (head, []byte) {
			return head{typ: frameRequest, call: 1, due: 1, body: size}, make([]byte, size)
		}
		marks := make([]mark, 5)
		add := func(i, size int) {
			h, body := frame(size)
			must(t, o.add(h, body, &marks[i], 0))
			synctest.Wait()
		}
		add(0, 10)        // is in the Write that nobody reads
		add(1, 10)        // gathers behind it
		add(2, largeBody) // likewise
		add(3, largeBody)
		o.pretend(&marks[4])
		for i, want := range []bool{true, false, false, false, true} {
			if got := o.took(&marks[i]); got != want {
				t.Errorf("frame %d: gone %v, want %v", i, got, want)
			}
		}
		if _, err := io.ReadFull(reader, make([]byte, 2*(headSize+10)+1)); err != nil { // up to the first byte of the first large frame
			t.Fatal(err)
		}
		synctest.Wait()
		for i, want := range []bool{true, true, true, false, true} {
			if got := o.took(&marks[i]); got != want {
				t.Errorf("later, frame %d: gone %v, want %v", i, got, want)
			}
		}
		o.close()
		writer.Close()
		if err := <-ended; !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("run ended with %v", err)
		}
	})
}
