package store

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/quorate/quorate/version"
	"pgregory.net/rapid"
)

// model is the dumb twin of a few stores: it keeps, per store and key, a full record with an exact vector, which is never stripped,
// filled or stored. Whatever leaves a real store must hold the same versions.
type model struct {
	t      *rapid.T
	stores []*Store
	opts   []Options
	exact  []map[Key]version.Record
	known  issuedDots
	sent   []message
	byKey  map[Key][]version.Dot // every dot that was given to a key
}

// message is a record on its way: as the store gave it away, and as the model has it.
type message struct {
	key         Key
	real, exact version.Record
}

func (m *model) check(i int, k Key, r version.Record) {
	want := m.exact[i][k]
	if !r.SameVersions(want) || r.N != want.N || r.MaxLWW != want.MaxLWW {
		m.t.Fatalf("store %d, key %q:\ngot  %v\nwant %v", i, k.Key, r, want)
	}
}

func (m *model) update(i int, k Key, mode version.Mode, read bool, n uint8) {
	exact := m.exact[i][k]
	var context, exactContext version.Vector
	if read {
		seen, err := m.stores[i].Get(k)
		if err != nil {
			m.t.Fatal(err)
		}
		context, exactContext = seen.Vector, exact.Vector
	}
	n = max(n, exact.N)
	var w version.Write
	res, err := m.stores[i].Update(k, n, func(local version.Record, d version.Dot) (version.Record, error) {
		w = version.Write{Dot: d, Mode: mode, Value: []byte(d.String()), Stamp: clockOf.next(d.Actor.ID), Context: context}
		return version.Supersede(local, w)
	})
	w.Context = exactContext
	next, wantErr := version.Supersede(exact, w)
	if (err == nil) != (wantErr == nil) {
		m.t.Fatalf("update: %v, want %v", err, wantErr)
	}
	if err != nil {
		return
	}
	if m.known[k.Partition][w.Dot] {
		m.t.Fatalf("dot %v was used twice", w.Dot)
	}
	m.known.add(k.Partition, w.Dot)
	if m.byKey != nil {
		m.byKey[k] = append(m.byKey[k], w.Dot)
	}
	m.exact[i][k] = next
	m.check(i, k, res.Record)
	if err := res.Commit.Wait(); err != nil {
		m.t.Fatal(err)
	}
	m.sent = append(m.sent, message{k, res.Record, next})
}

func (m *model) deliver(i int, msg message) {
	before := m.exact[i][msg.key]
	wantErr := version.CheckRaise(before, msg.exact)
	res, err := m.stores[i].Apply(msg.key, msg.real)
	if (err == nil) != (wantErr == nil) {
		m.t.Fatalf("apply: %v, want %v", err, wantErr)
	}
	if err != nil {
		return
	}
	m.exact[i][msg.key] = version.Merge(before, msg.exact)
	m.check(i, msg.key, res.Record)
	for _, d := range res.Old {
		if slices.ContainsFunc(res.Record.Versions, func(v version.Version) bool { return v.Dot == d }) {
			m.t.Fatalf("%v is said to be old and is live: %v", d, res.Record)
		}
	}
	if err := res.Commit.Wait(); err != nil {
		m.t.Fatal(err)
	}
}

// TestHistories: under random writes, deliveries late and twice, and reopenings, stores that strip and fill by clocks hold what exact
// records would hold, and the invariants stand.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{t: t, known: issuedDots{}}
		for i := range 2 {
			o := testOptions(vfs.NewMem())
			o.Dir, o.Partitions = fmt.Sprint("data", i), 2
			// Small enough to be met, or none at all.
			o.RecordCache = rapid.SampledFrom([]int64{0, 64 << 10, 64 << 20}).Draw(t, "cache")
			s, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			m.stores, m.opts, m.exact = append(m.stores, s), append(m.opts, o), append(m.exact, map[Key]version.Record{})
		}
		defer func() {
			for _, s := range m.stores {
				_ = s.Close()
			}
		}()
		store := rapid.IntRange(0, 1)
		key := rapid.Map(rapid.IntRange(0, 3), func(i int) Key { return keyOf(fmt.Sprint("k", i), 2) })
		t.Repeat(map[string]func(*rapid.T){
			"update": func(t *rapid.T) {
				m.update(store.Draw(t, "store"), key.Draw(t, "key"), rapid.SampledFrom([]version.Mode{version.LWW, version.Siblings}).Draw(t, "mode"),
					rapid.Bool().Draw(t, "read"), uint8(rapid.SampledFrom([]int{2, 2, 2, 3}).Draw(t, "n")))
			},
			"deliver": func(t *rapid.T) {
				if len(m.sent) > 0 {
					m.deliver(store.Draw(t, "store"), m.sent[rapid.IntRange(0, len(m.sent)-1).Draw(t, "message")])
				}
			},
			"get": func(t *rapid.T) {
				i, k := store.Draw(t, "store"), key.Draw(t, "key")
				r, err := m.stores[i].Get(k)
				if err != nil {
					t.Fatal(err)
				}
				m.check(i, k, r)
				if !r.IsAbsent() {
					m.sent = append(m.sent, message{k, r, m.exact[i][k]})
				}
			},
			"flush":   func(t *rapid.T) { flush(m.stores[store.Draw(t, "store")]) },
			"compact": func(t *rapid.T) { compact(t, m.stores[store.Draw(t, "store")]) },
			"reopen": func(t *rapid.T) {
				i := store.Draw(t, "store")
				if err := m.stores[i].Close(); err != nil {
					t.Fatal(err)
				}
				s, err := Open(m.opts[i])
				if err != nil {
					t.Fatal(err)
				}
				m.stores[i] = s
			},
		})
		for i, s := range m.stores {
			checkStore(tbOf(t), s, m.known)
			for k := range m.exact[i] {
				r, err := s.Get(k)
				if err != nil {
					t.Fatal(err)
				}
				m.check(i, k, r)
			}
		}
	})
}

// compact rewrites all tables.
func compact(t *rapid.T, s *Store) {
	if err := s.cur.Load().db.Compact(context.Background(), []byte{0}, []byte{0xff}, false); err != nil {
		t.Fatal(err)
	}
}

// rapidTB lets checks that take a testing.TB run inside a property.
type rapidTB struct {
	testing.TB
	t *rapid.T
}

func tbOf(t *rapid.T) testing.TB                    { return rapidTB{t: t} }
func (r rapidTB) Helper()                           { r.t.Helper() }
func (r rapidTB) Fatalf(format string, args ...any) { r.t.Fatalf(format, args...) }
