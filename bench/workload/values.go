package workload

import "math/rand/v2"

// Values has the bytes of all values: any part of one block of noise, which compresses as badly as real data at their worst.
type Values struct{ block []byte }

// window is in how many places a value may begin. More would cost memory and make no difference to a store.
const window = 1 << 20

// NewValues prepares values of at most size bytes.
func NewValues(seed uint64, size int) Values {
	v := Values{block: make([]byte, window+size)}
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	_, _ = rand.NewChaCha8(key).Read(v.block) // it never fails
	return v
}

// Of returns the value that begins at from. The caller must not change it.
func (v Values) Of(size int, from uint64) []byte {
	at := from % window
	return v.block[at : at+uint64(size)]
}
