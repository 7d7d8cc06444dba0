package quorum

import "fmt"

// Params are the parameters of one request, or the defaults of a bucket or cluster.
type Params struct {
	N      int   // replicas of the key, 1 to MaxN
	W, R   Level // acknowledgements a write waits for, replies a read waits for
	Sloppy bool  // whether a fallback may stand in for an owner that cannot be reached
}

// ParamError says which parameter is wrong and why. Clients read its text, so it names no package.
type ParamError struct {
	Param  string // "n", "w" or "r"
	Reason string
}

func (e *ParamError) Error() string { return fmt.Sprintf("%s %s", e.Param, e.Reason) }

// Validate returns a *ParamError for a parameter that no cluster could serve: n outside 1 to MaxN, a level of 0 or out of range, a literal level above n.
// Whether the cluster has enough members is not asked here, because it changes: that is a tally's matter.
func (p Params) Validate() error {
	if p.N < 1 || p.N > MaxN {
		return &ParamError{Param: "n", Reason: fmt.Sprintf("= %d: want 1 to %d", p.N, MaxN)}
	}
	if err := p.validateLevel("w", p.W); err != nil {
		return err
	}
	return p.validateLevel("r", p.R)
}

func (p Params) validateLevel(param string, l Level) error {
	if !l.Valid() {
		return &ParamError{Param: param, Reason: fmt.Sprintf("= %d: want one, quorum, all or an integer from 1 to %d", int(l), MaxN)}
	}
	if number, literal := l.Literal(); literal && number > p.N {
		return &ParamError{Param: param, Reason: fmt.Sprintf("= %d is more than n = %d", number, p.N)}
	}
	return nil
}

// Overlaps reports whether every read with these parameters meets every acknowledged write: r + w > n, with words resolved for n owners.
func (p Params) Overlaps() bool { return p.R.Resolve(p.N)+p.W.Resolve(p.N) > p.N }

// String is "n=3 w=quorum r=2", with " sloppy" where it applies.
func (p Params) String() string {
	s := fmt.Sprintf("n=%d w=%v r=%v", p.N, p.W, p.R)
	if p.Sloppy {
		s += " sloppy"
	}
	return s
}
