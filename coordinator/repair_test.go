package coordinator

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

var large = strings.Repeat("x", 1000) // in these clusters values of more than 64 bytes do not ride along

// heldBack is a Repairer that keeps its jobs, or has no room for them.
type heldBack struct {
	jobs []func(context.Context)
	full bool
}

func (h *heldBack) Repair(_ int64, run func(ctx context.Context)) bool {
	if !h.full {
		h.jobs = append(h.jobs, run)
	}
	return !h.full
}

func (h *heldBack) runAll() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, job := range h.jobs {
		job(ctx)
	}
}

// wiretap calls seen with every message that a node sends.
type wiretap struct {
	*scenarioNode
	seen func(to ring.ID, kind transport.Kind, body []byte)
}

func (w *wiretap) Go(to ring.ID, kind transport.Kind, body []byte, d time.Time, done func(transport.Response)) {
	w.seen(to, kind, body)
	w.scenarioNode.Go(to, kind, body, d, done)
}

func repairing(t *testing.T, n *scenarioNode, want map[string]int64) {
	t.Helper()
	synctest.Wait()
	n.coord.Stats.Repairs.Each(func(c quorum.Cause, outcome string, count int64) {
		if name := c.String() + " " + outcome; count != want[name] {
			t.Errorf("%d repairs %s, want %d", count, name, want[name])
		}
	})
}

func read(t *testing.T, n *scenarioNode, r quorum.Level) {
	t.Helper()
	_, err := n.coord.Get(context.Background(), &GetRequest{Options: Options{Timeout: time.Second}, Bucket: "b", Key: "k"}, quorum.Params{N: 3, W: 2, R: r})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * settleGrace)
	synctest.Wait()
}

// Between a reply and the repair an owner may have got what it lacked: it is looked at again, and sent nothing.
func TestRepairLooksAgain(t *testing.T) {
	hworld(t, 3, func(w *world, o, _ []*scenarioNode) {
		o[2].net = "down"
		if _, err := hput(o[0], large, 3, 2, version.LWW, nil); err != nil {
			t.Fatal(err)
		}
		o[2].net = ""
		time.Sleep(time.Millisecond)
		var queue heldBack
		o[0].coord.SetRepairer(&queue)
		read(t, o[0], 2)
		read(t, o[0], 2)
		if len(queue.jobs) != 2 {
			t.Fatalf("%d repairs for two reads that found an owner without the key", len(queue.jobs))
		}
		sent := 0
		o[0].coord.send = &wiretap{o[0], func(_ ring.ID, kind transport.Kind, _ []byte) {
			if kind == KindRepair {
				sent++
			}
		}}
		queue.runAll()
		repairing(t, o[0], map[string]int64{"absent ok": 1, "absent unneeded": 1})
		if sent != 1 {
			t.Errorf("%d records sent, want one", sent)
		}
		queue.jobs = nil
		read(t, o[0], 2)
		read(t, o[0], quorum.All)
		if len(queue.jobs) != 0 {
			t.Errorf("%d repairs of owners that agree", len(queue.jobs))
		}
	})
}

// When there is no room, repairs are dropped and counted, and the read is none the worse.
func TestRepairsAreDropped(t *testing.T) {
	hworld(t, 3, func(w *world, o, _ []*scenarioNode) {
		o[1].net, o[2].net = "down", "down"
		if _, err := hput(o[0], "v", 3, 1, version.LWW, nil); err != nil {
			t.Fatal(err)
		}
		o[1].net, o[2].net = "", ""
		o[0].coord.SetRepairer(&heldBack{full: true})
		read(t, o[0], 2)
		repairing(t, o[0], map[string]int64{"absent dropped": 2})
	})
}

// Of two siblings an owner holds one: that one's value stays at home, be it for a repair that is awaited or for one that is not.
func TestRepairSendsOnlyWhatIsLacking(t *testing.T) {
	for _, r := range []quorum.Level{2, quorum.All} {
		hworld(t, 3, func(w *world, o, _ []*scenarioNode) {
			if _, err := hput(o[0], large+"1", 3, 3, version.Siblings, nil); err != nil {
				t.Fatal(err)
			}
			o[2].net = "down"
			if _, err := hput(o[0], large+"2", 3, 2, version.Siblings, nil); err != nil {
				t.Fatal(err)
			}
			o[2].net = ""
			time.Sleep(time.Millisecond)
			records := 0
			o[0].coord.send = &wiretap{o[0], func(to ring.ID, kind transport.Kind, body []byte) {
				if kind != KindRepair {
					return
				}
				records++
				m, err := decodeKeyMessage(body, true)
				if err != nil {
					t.Fatal(err)
				}
				if came := valueBytes(&m.Record); to != o[2].id || len(m.Record.Versions) != 2 || came != len(large)+1 {
					t.Errorf("%d bytes of values in %v", came, m.Record)
				}
			}}
			read(t, o[0], r)
			repairing(t, o[0], map[string]int64{"stale ok": 1})
			if records != 1 {
				t.Errorf("%d records sent, want one", records)
			}
			rec, err := o[2].store.Get(keyOf(o[2].View(), "b", "k"))
			if err != nil || len(rec.Versions) != 2 || valueBytes(&rec) != 2*len(large)+2 {
				t.Errorf("it holds %v, %v", rec, err)
			}
		})
	}
}

// What goes with the versions is repaired without any value.
func TestRepairOfAStampSendsNoValue(t *testing.T) {
	hworld(t, 3, func(w *world, o, _ []*scenarioNode) {
		if _, err := hput(o[0], large, 3, 3, version.Siblings, nil); err != nil {
			t.Fatal(err)
		}
		k := keyOf(o[0].View(), "b", "k")
		rec, err := o[0].store.Get(k)
		if err != nil {
			t.Fatal(err)
		}
		rec.MaxLWW = version.Stamp{Time: 77, Actor: 1}
		if _, err := o[1].store.Mend(k, rec); err != nil {
			t.Fatal(err)
		}
		bytes, records := 0, 0
		o[0].coord.send = &wiretap{o[0], func(_ ring.ID, kind transport.Kind, body []byte) {
			if m, err := decodeKeyMessage(body, true); kind == KindRepair && err == nil {
				bytes += valueBytes(&m.Record)
				records++
			}
		}}
		read(t, o[0], 3)
		repairing(t, o[0], map[string]int64{"vector ok": 2})
		if records != 1 || bytes != 0 {
			t.Errorf("%d records with %d bytes of values sent to others; want one without", records, bytes)
		}
		for _, n := range o {
			if got, err := n.store.Get(k); err != nil || got.MaxLWW != rec.MaxLWW || valueBytes(&got) != len(large) {
				t.Errorf("%s holds %v, %v", n.name, got, err)
			}
		}
	})
}
