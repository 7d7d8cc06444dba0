package ring

import (
	"cmp"
	"slices"
)

// tier counts, for one prefix length, how many partitions each member has in its prefix, and how many it may have.
type tier struct{ have, limit []int }

func (t *tier) over(m int) bool { return t.have[m] > t.limit[m] }
func (t *tier) room(m int) bool { return t.have[m] < t.limit[m] }

// link is one exchange: in the partition's order, from gives its seat to the other member, which gives its own in return if it has one.
type link struct{ partition, from, to int }

// balance brings the prefixes of length k to their limit, one above the fair share rounded up, and from then on they are kept there. Members with too
// much give up the seats that they were least eager for, each to the next in the partition's order that has room. So what changes is local: a newcomer that
// takes some seats changes few corrections.
//
// At first only the seats may change that leave the shorter prefixes, or the set of the longer one, as they are. Where that is not enough, relieve changes more.
func (p *placement) balance(k int) {
	t := p.newTier(k)
	p.tiers[k] = t
	first := 0
	if k > anchor {
		first = k - 1
	}
	var excess []link
	for partition, seats := range p.seats {
		for _, m := range seats[first:k] {
			if t.over(m) {
				excess = append(excess, link{partition: partition, from: m})
			}
		}
	}
	slices.SortFunc(excess, func(a, b link) int {
		return cmp.Or(
			cmp.Compare(p.costOf(b.partition, b.from), p.costOf(a.partition, a.from)),
			cmp.Compare(a.partition, b.partition),
			cmp.Compare(a.from, b.from),
		)
	})
	for _, e := range excess {
		if t.over(e.from) {
			p.giveUp(e, k)
		}
	}
	for m := range p.members {
		for t.over(m) && p.relieve(m, k) {
		}
	}
}

func (p *placement) newTier(k int) *tier {
	t := &tier{have: make([]int, len(p.members)), limit: make([]int, len(p.members))}
	for _, seats := range p.seats {
		for _, m := range seats[:k] {
			t.have[m]++
		}
	}
	for m, share := range p.fairShares(k) {
		t.limit[m] = min(share.ceil()+1, p.partitions)
	}
	return t
}

// giveUp makes the exchange with the first member that has room, among the later seats of a longer prefix if there is one, and else among all without a seat.
func (p *placement) giveUp(e link, k int) {
	candidates := p.ranking[e.partition]
	if later := p.seats[e.partition][k:]; len(later) > 0 {
		candidates = later
	}
	for _, e.to = range candidates {
		if p.tiers[k].room(e.to) && p.canExchange(e, k) {
			p.exchange(e)
			return
		}
	}
}

// canExchange reports whether the exchange takes a seat of the prefix of length k from one member to another that had none in it, without putting that one
// above its limit at any other balanced length, and with as many zones as there can be in every prefix.
func (p *placement) canExchange(e link, k int) bool {
	seats := p.seats[e.partition]
	i, j := slices.Index(seats, e.from), slices.Index(seats, e.to)
	if i < 0 || i >= k || j >= 0 && j < k {
		return false
	}
	if j < 0 {
		j = len(seats)
	}
	if !p.roomBetween(e.to, i, j, k) {
		return false
	}
	if p.zoneCount == 1 {
		return true
	}
	p.swap(e)
	fits := p.clash(seats, 0) < 0
	p.swap(link{e.partition, e.to, e.from})
	return fits
}

// roomBetween reports whether a member with room at length k may stand at position i instead of j, which is the number of seats if it had none.
func (p *placement) roomBetween(m, i, j, k int) bool {
	for length := i + 1; length <= min(j, maxBalanced); length++ {
		if t := p.tiers[length]; length != k && t != nil && !t.room(m) {
			return false
		}
	}
	return true
}

func (p *placement) exchange(e link) {
	i, j := p.swap(e)
	p.recount(e, i, j)
}

// recount notes at all balanced lengths that one member gave its position i to the other for that one's position j.
func (p *placement) recount(e link, i, j int) {
	for length := i + 1; length <= min(j, maxBalanced); length++ {
		if t := p.tiers[length]; t != nil {
			t.have[e.from]--
			t.have[e.to]++
		}
	}
}

// swap returns the two positions; that of a member without a seat is the number of seats.
func (p *placement) swap(e link) (i, j int) {
	seats := p.seats[e.partition]
	i, j = slices.Index(seats, e.from), slices.Index(seats, e.to)
	seats[i] = e.to
	if j < 0 {
		return i, len(seats)
	}
	seats[j] = e.from
	return i, j
}
