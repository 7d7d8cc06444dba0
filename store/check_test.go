package store

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

// issuedDots is what a test knows to have been given to versions, per partition.
type issuedDots map[ring.Partition]map[version.Dot]bool

func (i issuedDots) add(p ring.Partition, d version.Dot) {
	if i[p] == nil {
		i[p] = make(map[version.Dot]bool)
	}
	i[p][d] = true
}

// checkStore checks the invariants of doc.go that one store can be asked about. The store must be idle. known may be nil.
func checkStore(t testing.TB, s *Store, known issuedDots) {
	t.Helper()
	e := s.cur.Load()
	logged := make(map[ring.Partition]map[version.Dot]string)
	err := scanPrefix(e.db, prefixLog, func(key, value []byte) error {
		p, d, ok := parseLogKey(key)
		if !ok || len(value) == 0 || value[0] != valueFormat {
			return fmt.Errorf("log entry %x → %x", key, value)
		}
		if logged[p] == nil {
			logged[p] = make(map[version.Dot]string)
		}
		logged[p][d] = string(value[1:])
		return nil
	})
	if err != nil {
		t.Fatalf("log: %v", err)
	}
	err = scanPrefix(e.db, prefixRecord, func(key, value []byte) error {
		k, ok := parseRecordKey(key)
		if !ok {
			return fmt.Errorf("record key %x", key)
		}
		r, err := version.DecodeRecord(bytes.Clone(value))
		if err != nil {
			return err
		}
		clock := &e.parts[k.Partition].clock
		full := r.Fill(*clock)
		for i := range r.Versions {
			d := r.Versions[i].Dot
			if name := logged[k.Partition][d]; name != string(key[3:]) {
				return fmt.Errorf("live dot %v of %q is logged as %q", d, k.Key, name)
			}
			delete(logged[k.Partition], d)
			if !clock.Covers(d) {
				return fmt.Errorf("live dot %v of %q is not in the clock %v", d, k.Key, clock)
			}
			if !full.Covers(d) {
				return fmt.Errorf("record %q, filled, does not cover its dot %v: %v", k.Key, d, full)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("records: %v", err)
	}
	for p, left := range logged {
		if len(left) > 0 {
			t.Fatalf("partition %d: log entries without a live version: %v", p, left)
		}
	}
	checkHandOffs(t, e)
	if known != nil {
		checkClocks(t, e, known)
	}
}

// checkBounds checks that clocks and the bounds of what they have forgotten cover every live version's dot.
func checkBounds(t testing.TB, s *Store) {
	t.Helper()
	bounds := make(map[ring.Partition]version.Vector)
	for p := range s.cur.Load().parts {
		bound, err := s.SyncedBound(ring.Partition(p))
		if err != nil {
			t.Fatal(err)
		}
		if clock := s.Clock(ring.Partition(p)); !bound.CoversAll(clock) {
			t.Fatalf("partition %d: the bound %v, the clock %v", p, bound, clock)
		}
		bounds[ring.Partition(p)] = bound
	}
	err := scanPrefix(s.cur.Load().db, prefixLog, func(key, _ []byte) error {
		if p, d, ok := parseLogKey(key); !ok || !bounds[p].Covers(d) {
			return fmt.Errorf("live dot %v of partition %d is not in the bound %v", d, p, bounds[p])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// checkHandOffs adds up the hand-offs and compares that with the sums, in memory and on the disk.
func checkHandOffs(t testing.TB, e *epoch) {
	t.Helper()
	type sums struct{ count, bytes uint64 }
	found := make(map[ring.Partition]sums)
	entries := make(map[Owed]uint64)
	var total sums
	err := scanPrefix(e.db, prefixHandOff, func(key, value []byte) error {
		k, ok := parseKey(prefixHandOff, key)
		if !ok {
			return fmt.Errorf("hand-off key %x", key)
		}
		h, err := decodeHandOff(bytes.Clone(value))
		if err != nil {
			return err
		}
		size := uint64(len(key) + len(value))
		found[k.Partition] = sums{found[k.Partition].count + 1, found[k.Partition].bytes + size}
		total = sums{total.count + 1, total.bytes + size}
		for _, id := range h.targets {
			entries[Owed{Partition: k.Partition, Owner: id}]++
		}
		return nil
	})
	if err != nil {
		t.Fatalf("hand-offs: %v", err)
	}
	fresh := epoch{db: e.db, parts: make([]partition, len(e.parts)), opts: e.opts}
	if err := fresh.loadHandOffs(); err != nil {
		t.Fatalf("sums of hand-offs: %v", err)
	}
	for _, e := range []*epoch{e, &fresh} {
		if got := (sums{uint64(e.handOffs.count.Load()), uint64(e.handOffs.bytes.Load())}); got != total {
			t.Fatalf("hand-offs: %+v in all, found %+v", got, total)
		}
		owed := 0
		for p := range e.parts {
			st := e.parts[p].stand
			if st == nil {
				st = newStanding()
			}
			if got := (sums{st.count, st.bytes}); got != found[ring.Partition(p)] {
				t.Fatalf("hand-offs of partition %d: %+v, found %+v", p, got, found[ring.Partition(p)])
			}
			for id, d := range st.owed {
				if d.entries != entries[Owed{Partition: ring.Partition(p), Owner: id}] {
					t.Fatalf("partition %d owes %d hand-offs to %v, found %d", p, d.entries, id, entries[Owed{Partition: ring.Partition(p), Owner: id}])
				}
				if d.entries > 0 {
					owed++
				}
			}
		}
		if owed != len(entries) {
			t.Fatalf("%d debts, found %d", owed, len(entries))
		}
	}
}

// checkClocks checks that clocks cover only dots that were issued.
func checkClocks(t testing.TB, e *epoch, known issuedDots) {
	t.Helper()
	for p := range e.parts {
		clock := e.parts[p].clock
		for _, entry := range clock.Entries() {
			for c := uint64(1); c <= entry.Highest(); c++ {
				d := version.Dot{Actor: entry.Actor, Counter: c}
				if clock.Covers(d) && !known[ring.Partition(p)][d] {
					t.Fatalf("partition %d: the clock covers %v, which nobody issued: %v", p, d, clock)
				}
			}
		}
	}
}
