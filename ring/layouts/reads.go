package layouts

// Reads are the maximal whole versions, those that reads must be answered in, sorted by hash. There is at least one in any state that grew from a founding.
func (v *View) Reads() []Version {
	var versions []Version
	for _, l := range v.live {
		if l.maximal {
			versions = append(versions, l.version)
		}
	}
	return versions
}

// Partitions is Q, 0 for the zero State.
func (s State) Partitions() int {
	if len(s.layouts) == 0 {
		return 0
	}
	return s.layouts[0].version.partitions
}

// IsZero reports whether s knows nothing.
func (s State) IsZero() bool { return len(s.layouts) == 0 }
