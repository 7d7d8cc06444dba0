package coordinator

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring/layouts"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// A coordinator that finds, after it has made the version, that all others see a newer layout in which it owns nothing, sends the same version to the owners there, and
// counts itself no more.
func TestCoordinatorLosesItsPlace(t *testing.T) {
	hworld(t, 4, func(w *world, o, rest []*scenarioNode) {
		others := []*scenarioNode{o[1], o[2], rest[0]}
		w.propose(o[1], others, o[0].row(layouts.Leaves, 0))
		w.complete(others)
		w.discard(others)
		res, err := hput(o[0], "v", 3, quorum.All, version.LWW, nil)
		if err != nil {
			t.Error(describe(err))
			return
		}
		if res.Acks != 3 || o[0].coord.Stats.LayoutRetries.Load() != 1 {
			t.Errorf("%d acks, %d retries", res.Acks, o[0].coord.Stats.LayoutRetries.Load())
		}
		held := 0
		for _, n := range others {
			rec, err := n.store.Get(keyOf(n.View(), "b", "k"))
			if err != nil {
				t.Fatal(err)
			}
			if len(rec.Versions) == 1 && rec.Versions[0].Dot == res.Token.Seen[0] {
				held++
			}
		}
		if held != 3 {
			t.Errorf("%d of the present owners hold the version", held)
		}
	})
}

// confirming is a store that counts what is applied to it, and may have lost what was.
type confirming struct {
	Store
	applied []version.Record
	result  func(store.Result, error) (store.Result, error)
}

func (s *confirming) Apply(k store.Key, incoming version.Record) (store.Result, error) {
	s.applied = append(s.applied, incoming)
	res, err := s.Store.Apply(k, incoming)
	if s.result != nil {
		return s.result(res, err)
	}
	return res, err
}

// A version that is sent again under another view is made sure of on the coordinator first, once for each view: what it held under the older one need not be there any more.
func TestOwnCopyIsMadeSureOf(t *testing.T) {
	lost := errors.New("the disk is gone")
	for name, c := range map[string]struct {
		changes bool
		result  func(store.Result, error) (store.Result, error)
		applied int
		n       int
		code    Code
	}{
		"the view is another one":     {changes: true, applied: 1, n: 3},
		"the view is the same":        {n: 3},
		"it cannot be held any more":  {changes: true, applied: 1, code: QuorumTimeout, result: func(store.Result, error) (store.Result, error) { return store.Result{}, lost }},
		"the key has a larger n here": {changes: true, applied: 1, n: 5, result: func(r store.Result, err error) (store.Result, error) { r.Record.N = 5; return r, err }},
	} {
		t.Run(name, func(t *testing.T) {
			hworld(t, 6, func(w *world, o, rest []*scenarioNode) {
				own := &confirming{Store: o[0].store, result: c.result}
				o[0].coord.store = own
				others := append(slices.Clone(rest), o[1:]...)
				if c.changes {
					w.propose(o[1], others, o[2].row(layouts.Owns, 1))
				}
				var mu sync.Mutex
				refused := map[*scenarioNode]bool{}
				o[0].coord.send = &hook{o[0], func(to *scenarioNode, _ transport.Kind, r transport.Response) transport.Response {
					mu.Lock()
					defer mu.Unlock()
					if !c.changes && !refused[to] {
						refused[to] = true
						return transport.Response{Status: statusFrozen, Sent: true}
					}
					return r
				}}
				res, err := hput(o[0], "v", 3, quorum.All, version.LWW, nil)
				if codeOf(err) != c.code || len(own.applied) != c.applied || err == nil && res.N != c.n {
					t.Errorf("applied %d times, n=%d, %v", len(own.applied), res.N, err)
					return
				}
				if o[0].coord.Stats.LayoutRetries.Load() == 0 {
					t.Error("it was not refused")
				}
				if e, ok := err.(*Error); ok && !e.Indeterminate {
					t.Error("the version was made, and the answer says it was not")
				}
				if err == nil && c.applied > 0 && c.n == 3 && own.applied[0].Versions[0].Dot != res.Token.Seen[0] {
					t.Errorf("%v was applied, and %v acknowledged", own.applied[0].Versions[0].Dot, res.Token.Seen)
				}
			})
		})
	}
}
