package coordinator

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/ring/layouts"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
	"github.com/quorate/quorate/version"
)

// BenchmarkGet is what a quorum read costs the coordinator and the replicas that it asks, without network and HTTP: messages are calls on goroutines.
func BenchmarkGet(b *testing.B) {
	for _, c := range []struct {
		name  string
		owner bool
		bytes int
	}{{"owner/100B", true, 100}, {"other/100B", false, 100}, {"owner/64KiB", true, 64 << 10}, {"other/64KiB", false, 64 << 10}} {
		b.Run(c.name, func(b *testing.B) {
			w := newBenchWorld(b, 4)
			k := keyOf(w.nodes[0].View(), "b", "k")
			owners := w.layout.Owners(k.Partition, 3)
			reader := w.nodes[slices.IndexFunc(w.nodes, func(n *benchNode) bool { return owns(owners, n.id) == c.owner })]
			put := &PutRequest{Options: Options{Timeout: time.Second}, Bucket: "b", Key: "k", Value: bytes.Repeat([]byte("v"), c.bytes)}
			params := quorum.Params{N: 3, W: 3, R: 2}
			if _, err := w.byID(owners[0]).coord.Put(context.Background(), put, params, version.LWW); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					req := GetRequest{Options: Options{Timeout: time.Second}, Bucket: "b", Key: "k"}
					res, err := reader.coord.Get(context.Background(), &req, params)
					if err != nil || len(res.Record.Versions) != 1 || len(res.Record.Versions[0].Value) != c.bytes {
						b.Errorf("%v, %v", res.Record, err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkPut is what a quorum write costs likewise, syncs to memory included.
func BenchmarkPut(b *testing.B) {
	w := newBenchWorld(b, 4)
	owners := w.layout.Owners(keyOf(w.nodes[0].View(), "b", "k").Partition, 3)
	writer := w.byID(owners[0]).coord
	params := quorum.Params{N: 3, W: 2, R: 2}
	b.ReportAllocs()
	for b.Loop() {
		put := &PutRequest{Options: Options{Timeout: time.Second}, Bucket: "b", Key: "k", Value: []byte("value")}
		if _, err := writer.Put(context.Background(), put, params, version.LWW); err != nil {
			b.Fatal(err)
		}
	}
}

type benchWorld struct {
	nodes  []*benchNode
	layout *ring.Layout
}

type benchNode struct {
	id    ring.ID
	w     *benchWorld
	view  *View
	hlc   version.HLC
	coord *Coordinator
}

func newBenchWorld(b *testing.B, count int) *benchWorld {
	w := &benchWorld{}
	var rows []layouts.Row
	view := &View{Peers: map[ring.ID]Peer{}}
	for i := range count {
		opts := store.DefaultOptions()
		opts.FS, opts.Dir, opts.Partitions = vfs.NewMem(), "data", 16
		st, err := store.Open(opts)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := st.Close(); err != nil {
				b.Error(err)
			}
		})
		n := &benchNode{id: st.Incarnation(), w: w}
		cfg := DefaultConfig()
		cfg.Name = fmt.Sprintf("n%d", i+1)
		n.coord = New(cfg, st, n, n, &n.hlc, slog.New(slog.DiscardHandler))
		w.nodes = append(w.nodes, n)
		view.Peers[n.id] = Peer{Name: cfg.Name}
		rows = append(rows, layouts.Row{ID: n.id, Standing: layouts.Owns, Name: cfg.Name, Weight: 1})
	}
	founding, err := layouts.NewVersion(16, rows...)
	if err != nil {
		b.Fatal(err)
	}
	w.layout = founding.Place()
	rings := layouts.NewView(layouts.Found(founding), func(layouts.Version) layouts.Placement { return w.layout })
	for _, n := range w.nodes {
		v := *view
		v.Rings, v.Layout, v.Digest, v.Self = rings, w.layout, rings.Digest(), n.id
		n.view = &v
	}
	return w
}

func (w *benchWorld) byID(id ring.ID) *benchNode {
	for _, n := range w.nodes {
		if n.id == id {
			return n
		}
	}
	panic("no such node")
}

// Go implements Sender.
func (n *benchNode) Go(to ring.ID, kind transport.Kind, body []byte, deadline time.Time, done func(transport.Response)) {
	body = append([]byte(nil), body...)
	peer := n.w.byID(to).coord
	serve := peer.ServeRead
	if kind == KindWrite {
		serve = peer.ServeWrite
	}
	go serve(transport.NewRequest(n.id, kind, body, deadline, func(s transport.Status, b []byte) {
		done(transport.Response{Status: s, Body: append([]byte(nil), b...), Sent: true, At: time.Now()})
	}))
}

func (n *benchNode) View() *View                   { return n.view }
func (n *benchNode) Enter(uint64) Entry            { return Entered }
func (n *benchNode) Leave()                        {}
func (n *benchNode) Table() []byte                 { return nil }
func (n *benchNode) Reconcile(ring.ID, []byte)     {}
func (n *benchNode) Skewed() (time.Duration, bool) { return 0, false }
