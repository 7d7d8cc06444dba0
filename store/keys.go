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
//	h | partition 2 | n 1                            → format 1: there is something of the n in c, or in d
//	f | partition 2 | bucket | 0x00 | key            → format 1 | targets | own dots | record, full: a hand-off, see appendHandOff
//	o | partition 2                                  → format 1 | how many hand-offs the partition has, and their bytes
//	o | partition 2 | owner 16                       → format 2 | how many of them are for that owner, and the dots that it is to adopt
//	m | name                                         → format 1 | value; names under "store/" are the store's own
//
// Every value starts with a byte that names its format.
const (
	prefixRecord = 'd'
	prefixLog    = 'l'
	prefixClock  = 'c'
	prefixDigest = 'g'
	prefixHeld   = 'h'
	prefixMeta   = 'm'

	prefixHandOff = 'f'
	prefixOwed    = 'o'

	valueFormat = 1

	logKeyLen   = 1 + 2 + 1 + 8 + 8
	clockKeyLen = 1 + 2 + 1 + 8
	setKeyLen   = 1 + 2 + 1
	sumsKeyLen  = 1 + 2
	owedKeyLen  = sumsKeyLen + len(ring.ID{})
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
func parseRecordKey(b []byte) (Key, bool) { return parseKey(prefixRecord, b) }

// parseKey takes a key apart that names a record, under one of the prefixes that have such keys.
func parseKey(prefix byte, b []byte) (Key, bool) {
	if len(b) < 4 || b[0] != prefix {
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

// setKey is where that begins, under a prefix, which belongs to the set (p, n).
func setKey(prefix byte, p ring.Partition, n uint8) []byte {
	return []byte{prefix, byte(p >> 8), byte(p), n}
}

func parseSetKey(b []byte) (p ring.Partition, n uint8, ok bool) {
	if len(b) != setKeyLen || b[3] < 1 || b[3] > version.MaxN {
		return 0, 0, false
	}
	return ring.Partition(binary.BigEndian.Uint16(b[1:])), b[3], true
}

// owedKey is where it stands what is owed to an owner, or, for the zero ID, what a partition's hand-offs add up to.
func owedKey(p ring.Partition, owner ring.ID) []byte {
	key := binary.BigEndian.AppendUint16([]byte{prefixOwed}, uint16(p))
	if owner.IsZero() {
		return key
	}
	return append(key, owner[:]...)
}

func parseOwedKey(b []byte) (p ring.Partition, owner ring.ID, ok bool) {
	if len(b) < sumsKeyLen || b[0] != prefixOwed {
		return 0, ring.ID{}, false
	}
	copy(owner[:], b[sumsKeyLen:])
	return ring.Partition(binary.BigEndian.Uint16(b[1:])), owner, len(b) == sumsKeyLen || len(b) == owedKeyLen && !owner.IsZero()
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
