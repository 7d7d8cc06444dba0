package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

// loadClocks restores the clocks of all partitions: what is written under c, and the dots of the log entries beyond that. Every record
// ever written has left a trace in them.
func (e *epoch) loadClocks() error {
	for i := range e.parts {
		e.parts[i].saved = make(map[version.Actor]saved)
	}
	err := scanPrefix(e.db, prefixClock, func(key, value []byte) error {
		p, actor, ok := parseClockKey(key)
		if !ok || int(p) >= len(e.parts) {
			return fmt.Errorf("%w: clock key %x", ErrCorrupt, key)
		}
		entry, err := decodeClock(value, actor)
		if err != nil {
			return err
		}
		addEntry(&e.parts[p].clock, entry)
		e.parts[p].saved[actor] = saved{base: entry.Base, highest: entry.Highest()}
		return nil
	})
	if err != nil {
		return err
	}
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixLog}, UpperBound: []byte{prefixLog + 1}})
	if err != nil {
		return err
	}
	return firstError(e.addLog(it), it.Close())
}

// addLog adds dots to the clocks that only the log tells of. It leaps over what is known.
func (e *epoch) addLog(it *pebble.Iterator) error {
	for ok := it.First(); ok; {
		p, dot, parsed := parseLogKey(it.Key())
		if !parsed || int(p) >= len(e.parts) {
			return fmt.Errorf("%w: log key %x", ErrCorrupt, it.Key())
		}
		clock := &e.parts[p].clock
		known, _ := clock.Entry(dot.Actor)
		if end := runEnd(known, dot.Counter); end > dot.Counter {
			ok = it.SeekGE(logKeyAfter(p, dot.Actor, end))
			continue
		}
		clock.Add(dot)
		ok = it.Next()
	}
	return it.Error()
}

// runEnd returns the end of the run of known dots that counter lies in, 0 if it lies in none.
func runEnd(e version.Entry, counter uint64) uint64 {
	if counter <= e.Base {
		return e.Base
	}
	for _, iv := range e.Detached {
		if iv.Lo <= counter && counter <= iv.Hi {
			return iv.Hi
		}
	}
	return 0
}

func logKeyAfter(p ring.Partition, a version.Actor, counter uint64) []byte {
	key := make([]byte, logKeyLen, logKeyLen+1)
	putLogKey(key, p, version.Dot{Actor: a, Counter: counter})
	return append(key, 0)
}
