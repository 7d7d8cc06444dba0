package repair

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/version"
)

// clocked is a partition with this node's clock and what a peer told of its own (Exchanger.bounds), for the n that both own.
type clocked struct {
	share        share
	mine, theirs version.Vector
	held         bool // the peer holds all that it owns there, by its own word and by this node's view
}

// comparison is what differs between two nodes, and what was shown not to.
type comparison struct {
	equal  []ring.Partition // by hashes that a report may rest on; none from a node that owes no report
	differ []clocked
}

// compareAndFetch is one comparison with a peer and all that it calls for: it asks for the clocks that differ, lets what is in flight arrive, and
// fetches the rest.
func (x *Exchanger) compareAndFetch(ctx context.Context, o *Ownership, id ring.ID) (haul, error) {
	begun := x.begin(o)
	c, err := x.compare(ctx, o, id)
	if err != nil {
		return haul{}, err
	}
	met := c.equal
	behind, ahead := uint64(0), false
	for i := range c.differ {
		d := &c.differ[i]
		behind += d.theirs.Lacks(d.mine)
		if d.mine.CoversAll(d.theirs) {
			met = append(met, d.share.Partition)
		}
		ahead = ahead || wants(d.mine, d.theirs, d.held, x.owes(begun, o.Self, d.share.Partition, id))
	}
	x.met(begun, id, met...)
	x.note(id, behind)
	if !ahead {
		return haul{}, nil
	}
	if !sleep(ctx, x.cfg.Settle) {
		return haul{}, ctx.Err()
	}
	return x.fetch(ctx, o, id, &c, begun)
}

// compare finds the partitions in which this node's clock and a peer's differ: by one hash, if that differs by one for each partition, and
// if clocks differ by their columns.
func (x *Exchanger) compare(ctx context.Context, o *Ownership, id ring.ID) (comparison, error) {
	all := x.territory(o).shares[id]
	mine, err := x.clocks(all)
	if err != nil {
		return comparison{}, err
	}
	gaining := x.gaining(o)
	request := compare{Digest: o.Digest}
	hashes := hashesOf(mine)
	request.Root = rootOf(hashes)
	for {
		body, err := x.ask(ctx, id, KindCompare, request.append(nil))
		if err != nil {
			return comparison{}, err
		}
		answer, err := decodeCompared(body)
		if err != nil {
			return comparison{}, err
		}
		var c comparison
		if gaining && (answer.Equal || request.Width == gainingWidth) {
			c.equal = others(all, answer.Partitions)
		}
		if answer.Equal {
			return c, nil
		}
		if request.Width > 0 || len(all) == 0 {
			err = x.differing(ctx, o, id, &c, all, mine, answer.Partitions)
			return c, err
		}
		request.Salt, request.Width = rand.Uint64(), hashWidth(gaining)
		request.Hashes = salted(hashes, request.Salt, request.Width)
	}
}

// others are the partitions of some shares but those at some of them, which ascend.
func others(all []share, at []ring.Partition) (out []ring.Partition) {
	for _, s := range all {
		if len(at) > 0 && at[0] == s.Partition {
			at = at[1:]
			continue
		}
		out = append(out, s.Partition)
	}
	return out
}

// differing asks for a peer's clocks of some of the shared partitions.
func (x *Exchanger) differing(ctx context.Context, o *Ownership, id ring.ID, c *comparison, all []share, mine []version.Vector, at []ring.Partition) error {
	var rows []version.Vector
	for i, s := range all {
		if n := len(c.differ); n < len(at) && at[n] == s.Partition {
			c.differ = append(c.differ, clocked{share: s, mine: mine[i]})
			rows = append(rows, mine[i])
		}
	}
	if len(c.differ) < len(at) {
		return fmt.Errorf("%w: a partition that was not asked for", errWire)
	}
	if len(at) == 0 {
		return nil
	}
	answer, err := x.open(ctx, id, &open{Digest: o.Digest, Partitions: at}, rows)
	if err != nil {
		return err
	}
	for i := range c.differ {
		d := &c.differ[i]
		d.theirs, d.held = answer.Rows[i], holds(o, id, d.share, answer.Holds[i])
	}
	return nil
}

// holds decides whether a peer holds all that it shares of a partition: by its own word, and by this node's view.
func holds(o *Ownership, id ring.ID, s share, word bool) bool {
	return word && o.Rings.Holds(id, s.Partition, int(s.Least))
}

// open asks for a peer's clocks of some partitions, for the n that are shared there, and begins an exchange of them if the request says so. belief is what
// they are believed to be: only what differs from that is sent. The answer's rows are whole.
func (x *Exchanger) open(ctx context.Context, id ring.ID, request *open, belief []version.Vector) (opened, error) {
	request.Columns = columnHashes(belief, columnCount(belief))
	body, err := x.ask(ctx, id, KindOpen, request.append(nil))
	if err != nil {
		return opened{}, err
	}
	answer, err := decodeOpened(body, len(request.Partitions), len(request.Columns))
	if err != nil {
		return opened{}, err
	}
	for i, believed := range closed(belief) {
		answer.Rows[i] = replaceColumns(overlay(believed, answer.Holed[i]), answer.Differ, answer.Rows[i])
	}
	return answer, nil
}

// clocks are this node's synced clocks of some partitions, for the n that are shared there.
func (x *Exchanger) clocks(at []share) ([]version.Vector, error) {
	return clocksOf(at, x.store.SyncedClock)
}

// bounds are what a peer is told in a comparison that these clocks are. Where its report may rest on that they are bounds of what is live here: what a clock has forgotten, it would not miss.
func (x *Exchanger) bounds(o *Ownership, peer ring.ID, at []share) ([]version.Vector, error) {
	return clocksOf(at, func(p ring.Partition) (version.Vector, error) {
		if reports(o.Rings, peer, p) {
			return x.store.SyncedBound(p)
		}
		return x.store.SyncedClock(p)
	})
}

func clocksOf(at []share, clockOf func(ring.Partition) (version.Vector, error)) ([]version.Vector, error) {
	out := make([]version.Vector, len(at))
	for i, s := range at {
		clock, err := clockOf(s.Partition)
		if err != nil {
			return nil, err
		}
		out[i] = clock.AtLeast(s.Least)
	}
	return out, nil
}

func hashesOf(clocks []version.Vector) []uint64 {
	out := make([]uint64, len(clocks))
	for i, c := range clocks {
		out[i] = c.Hash()
	}
	return out
}

// hashWidth is how many bytes of a partition's hash are compared. Of clocks that differ one pair in 2^24 looks equal then, until the next
// comparison with another salt; but a gaining node's report rests on a single one.
func hashWidth(gaining bool) uint8 {
	if gaining {
		return gainingWidth
	}
	return 3
}

const gainingWidth = 8

// salted are some bytes of each hash, hashed with a salt.
func salted(hashes []uint64, salt uint64, width uint8) []byte {
	out := make([]byte, 0, int(width)*len(hashes))
	var b [16]byte
	binary.LittleEndian.PutUint64(b[8:], salt)
	for _, h := range hashes {
		binary.LittleEndian.PutUint64(b[:8], h)
		binary.LittleEndian.PutUint64(b[:8], xxhash.Sum64(b[:]))
		out = append(out, b[:width]...)
	}
	return out
}

// rootOf is one hash of all.
func rootOf(hashes []uint64) uint64 {
	b := make([]byte, 0, 8*len(hashes))
	for _, h := range hashes {
		b = binary.LittleEndian.AppendUint64(b, h)
	}
	return xxhash.Sum64(b)
}

// note remembers how far a peer was behind, and since when: as of this comparison, or as of what its listener knew before.
func (x *Exchanger) note(id ring.ID, behind uint64) {
	var since time.Time
	if x.compared != nil {
		since = x.compared(id)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	l := lag{versions: behind}
	if behind > 0 {
		l.since = time.Now()
		for _, earlier := range []time.Time{since, x.lag[id].since} {
			if !earlier.IsZero() && earlier.Before(l.since) {
				l.since = earlier
			}
		}
	}
	x.lag[id] = l
}
