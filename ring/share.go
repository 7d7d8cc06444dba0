package ring

// ratio is an exact fraction: caps are rounded up from shares, and a rounding error below a whole number would loosen them by one.
type ratio struct{ num, den int64 }

func (r ratio) ceil() int { return int((r.num + r.den - 1) / r.den) }

// claim is what one party may have of a total: in proportion to weight, but at least low and at most high.
type claim struct{ weight, low, high int64 }

// divide splits the total among the claims: in proportion to their weights, where those whose part would be below their low or above their high get just
// that, and the others share what this leaves. The total must be from the sum of the lows to the sum of the highs.
func divide(total ratio, claims []claim) []ratio {
	parts := make([]ratio, len(claims))
	settled := make([]bool, len(claims))
	for {
		left, weight := total, int64(0)
		for i, c := range claims {
			if settled[i] {
				left.num -= parts[i].num * left.den
			} else {
				weight += c.weight
			}
		}
		if weight == 0 {
			return parts
		}
		// Parts of the open claims are left × c.weight ÷ weight. If pushing them into their limits adds more than it takes away, those that were
		// pushed up stay where they are whatever happens to the rest, and the other way round.
		var excess int64
		scale := left.den * weight
		for i, c := range claims {
			if !settled[i] {
				part := left.num * c.weight
				excess += max(c.low*scale-part, 0) - max(part-c.high*scale, 0)
			}
		}
		again := false
		for i, c := range claims {
			if settled[i] {
				continue
			}
			part := left.num * c.weight
			switch {
			case part < c.low*scale && excess >= 0:
				parts[i], settled[i], again = ratio{c.low, 1}, true, true
			case part > c.high*scale && excess <= 0:
				parts[i], settled[i], again = ratio{c.high, 1}, true, true
			default:
				parts[i] = ratio{part, scale}
			}
		}
		if !again {
			return parts
		}
	}
}

// fairShares is how many partitions each member ought to own for n replicas: in proportion to the weights as far as a member can own a partition only once
// and the replicas go to distinct zones while there are zones left. n is at most the number of members.
func (p *placement) fairShares(n int) []ratio {
	zones := make([]claim, p.zoneCount)
	for i, m := range p.members {
		z := &zones[p.zone[i]]
		z.weight += int64(m.Weight)
		z.high += int64(p.partitions)
	}
	for i := range zones {
		if n <= p.zoneCount {
			zones[i].high = int64(p.partitions)
		} else {
			zones[i].low = int64(p.partitions)
		}
	}
	shares := make([]ratio, len(p.members))
	for z, share := range divide(ratio{int64(n) * int64(p.partitions), 1}, zones) {
		var inside []claim
		var who []int
		for i, m := range p.members {
			if p.zone[i] == z {
				inside = append(inside, claim{weight: int64(m.Weight), high: int64(p.partitions)})
				who = append(who, i)
			}
		}
		for j, part := range divide(share, inside) {
			shares[who[j]] = part
		}
	}
	return shares
}
