package store

import (
	"bytes"
	"encoding/binary"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

// The key layout. Integers are big-endian and of fixed width, so that byte order is the order of the fields.
//
//	d | partition 2 | bucket | 0x00 | key            → record, stripped (version's record codec)
//	l | partition 2 | n 1 | actor 8 | counter 8      → format 1 | bucket | 0x00 | key
//	c | partition 2 | n 1 | actor 8                  → format 1 | base and detached intervals of that actor;
//	                                                    its log entries add to it
//	g | partition 2 | n 1 | leaf                     → reserved: digests of the anti-entropy tree
//	f | …                                            → reserved: hand-offs of a fallback
//	m | name                                         → format 1 | value; names under "store/" are the store's own
//
// Every value starts with a byte that names its format.
const (
	prefixRecord = 'd'
	prefixLog    = 'l'
	prefixClock  = 'c'
	prefixMeta   = 'm'

	valueFormat = 1

	logKeyLen   = 1 + 2 + 1 + 8 + 8
	clockKeyLen = 1 + 2 + 1 + 8
)

// Key names a record. The partition must be the one that the ring computes for bucket and key; the store does not check it.
type Key struct {
	Partition   ring.Partition
	Bucket, Key string
}

func appendRecordPrefix(dst []byte, p ring.Partition, bucket string) []byte {
	dst = append(dst, prefixRecord)
	dst = binary.BigEndian.AppendUint16(dst, uint16(p))
	dst = append(dst, bucket...)
	return append(dst, 0)
}

func appendRecordKey(dst []byte, k Key) []byte {
	return append(appendRecordPrefix(dst, k.Partition, k.Bucket), k.Key...)
}

// parseRecordKey is the inverse of appendRecordKey. A bucket holds no zero byte, so the first one ends it.
func parseRecordKey(b []byte) (Key, bool) {
	if len(b) < 4 || b[0] != prefixRecord {
		return Key{}, false
	}
	bucket, key, ok := bytes.Cut(b[3:], []byte{0})
	if !ok || len(bucket) == 0 {
		return Key{}, false
	}
	return Key{Partition: ring.Partition(binary.BigEndian.Uint16(b[1:])), Bucket: string(bucket), Key: string(key)}, true
}

// putLogKey fills dst, which has logKeyLen bytes.
func putLogKey(dst []byte, p ring.Partition, d version.Dot) {
	putClockKey(dst[:clockKeyLen], p, d.Actor)
	dst[0] = prefixLog
	binary.BigEndian.PutUint64(dst[clockKeyLen:], d.Counter)
}

func parseLogKey(b []byte) (ring.Partition, version.Dot, bool) {
	if len(b) != logKeyLen || b[0] != prefixLog {
		return 0, version.Dot{}, false
	}
	return ring.Partition(binary.BigEndian.Uint16(b[1:])), version.Dot{
		Actor:   version.Actor{N: b[3], ID: version.ActorID(binary.BigEndian.Uint64(b[4:]))},
		Counter: binary.BigEndian.Uint64(b[clockKeyLen:]),
	}, true
}

// putClockKey fills dst, which has clockKeyLen bytes.
func putClockKey(dst []byte, p ring.Partition, a version.Actor) {
	dst[0] = prefixClock
	binary.BigEndian.PutUint16(dst[1:], uint16(p))
	dst[3] = a.N
	binary.BigEndian.PutUint64(dst[4:], uint64(a.ID))
}

func parseClockKey(b []byte) (ring.Partition, version.Actor, bool) {
	if len(b) != clockKeyLen || b[0] != prefixClock {
		return 0, version.Actor{}, false
	}
	return ring.Partition(binary.BigEndian.Uint16(b[1:])),
		version.Actor{N: b[3], ID: version.ActorID(binary.BigEndian.Uint64(b[4:]))}, true
}

func metaKey(name string) []byte { return append([]byte{prefixMeta}, name...) }

// afterPrefix returns the least key above all that start with prefix, nil if there is none.
func afterPrefix(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
