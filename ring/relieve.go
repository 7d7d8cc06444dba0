package ring

import "slices"

// relieve takes one partition within the prefixes of length k from a member that has too many, where no single exchange could. It reports whether it succeeded.
//
// Where there are no zones it always does. Think only of how often each member stands at each position. Some member has room at length k, because limits are
// above fair shares. If it stands somewhere behind k, the two can trade positions, and only the counts between change; if it stands nowhere there, its counts
// for the longer prefixes equal its count for k and are below their limits too, since limits grow with k. Whatever the counts, the partitions can be made to
// agree with them: see trade.
//
// With fewer zones than seats a position may be open to one zone only. Then it can take two steps: to a member without room, and from there to one with room.
func (p *placement) relieve(m, k int) bool {
	if p.passOn(m, k, p.tiers[k].room) {
		return true
	}
	if p.zoneCount == 1 {
		return false
	}
	for between := range p.members {
		saved := p.save()
		if p.passOn(m, k, func(to int) bool { return to == between }) && p.passOn(between, k, p.tiers[k].room) {
			return true
		}
		p.restore(saved)
	}
	return false
}

// passOn takes one partition within the prefixes of length k from a member and gives it to one of those that may have it, if it can.
func (p *placement) passOn(from, k int, may func(to int) bool) bool {
	return k > anchor && p.passOnBehind(anchor, from, k, may) || p.passOnBehind(0, from, k, may)
}

// passOnBehind is passOn that leaves all positions before the first as they are.
func (p *placement) passOnBehind(first, from, k int, may func(to int) bool) bool {
	seated := len(p.seats[0])
	for i := k - 1; i >= first; i-- {
		for to := range p.members {
			if to == from || !may(to) {
				continue
			}
			for j := k; j <= seated; j++ {
				if p.roomBetween(to, i, j, k) && p.trade(from, to, i, j, first) {
					return true
				}
			}
		}
	}
	return false
}

// trade puts one member where the other stood at position i, in some partition, and the other where it stood itself at position j, in the same partition or
// another; j is the number of seats where it stood nowhere. No other count of members at positions changes.
//
// Should a member then clash with one already in its partition, the two partitions exchange what stands at the position of the clash, then at the position
// where what came in clashes, and so on. Without zones this ends after few steps: it is the alternating path by which König colours the edges between
// members and positions with partitions.
func (p *placement) trade(from, to, i, j, first int) bool {
	seated := len(p.seats[0])
	for a, seats := range p.seats {
		if seats[i] != from {
			continue
		}
		if (j == seated || seats[j] == to) && p.tryTrade(a, a, link{a, from, to}, i, j, first) {
			return true
		}
		for b, other := range p.seats {
			able := j < seated && other[j] == to || j == seated && !slices.Contains(other, to)
			if able && a != b && p.tryTrade(a, b, link{a, from, to}, i, j, first) {
				return true
			}
		}
	}
	return false
}

// tryTrade is trade between two given partitions, or within one. If it fails it changes nothing.
func (p *placement) tryTrade(a, b int, e link, i, j, first int) bool {
	seats, other := p.seats[a], p.seats[b]
	savedA, savedB := slices.Clone(seats), slices.Clone(other)
	seats[i] = e.to
	fixed := uint32(1)<<i | (1<<first - 1)
	if j < len(other) {
		other[j] = e.from
		fixed |= 1 << j
	}
	if a == b && p.clash(seats, 0) >= 0 || a != b && !p.untangle(seats, other, fixed) {
		copy(seats, savedA)
		copy(other, savedB)
		return false
	}
	p.recount(e, i, j)
	return true
}

// untangle exchanges positions of two partitions until neither has a clash. fixed are the positions that must stay, as bits. It reports false if that is not enough.
func (p *placement) untangle(a, b []int, fixed uint32) bool {
	for {
		position := p.clash(a, fixed)
		if position < 0 {
			position = p.clash(b, fixed)
		}
		if position < 0 {
			return true
		}
		if fixed&(1<<position) != 0 {
			return false
		}
		fixed |= 1 << position
		a[position], b[position] = b[position], a[position]
	}
}

// clash is a position whose member stands at another one too, or whose zone does among the first positions, where zones are to be distinct; -1 if there is none.
// Of two positions that clash it is the one that is not fixed.
func (p *placement) clash(seats []int, fixed uint32) int {
	for j, m := range seats {
		for i, earlier := range seats[:j] {
			if m != earlier && (j >= p.zoneCount || p.zone[m] != p.zone[earlier]) {
				continue
			}
			if fixed&(1<<j) == 0 {
				return j
			}
			return i
		}
	}
	return -1
}

// save copies what trades change: the seats, and the counts of each balanced length.
func (p *placement) save() [][]int {
	saved := make([][]int, 0, len(p.seats)+len(p.tiers))
	for _, seats := range p.seats {
		saved = append(saved, slices.Clone(seats))
	}
	for _, t := range p.tiers {
		if t != nil {
			saved = append(saved, slices.Clone(t.have))
		}
	}
	return saved
}

func (p *placement) restore(saved [][]int) {
	for _, seats := range p.seats {
		copy(seats, saved[0])
		saved = saved[1:]
	}
	for _, t := range p.tiers {
		if t != nil {
			copy(t.have, saved[0])
			saved = saved[1:]
		}
	}
}
