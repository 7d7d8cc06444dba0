package store

import "github.com/quorate/quorate/version"

// Peek is Get for a record that is in the cache and wholly on the disk; otherwise it returns false. It never waits for
// the disk.
func (s *Store) Peek(k Key) (version.Record, bool) {
	e, err := s.enterRead()
	if err != nil {
		return version.Record{}, false
	}
	defer e.leave()
	p, err := e.partition(k)
	if err != nil {
		return version.Record{}, false
	}
	var buf keyBuffer
	l := locate(&buf, k)
	r, ok := e.peek(p, &l)
	if !ok || e.pending.get(l.hash) != nil {
		return version.Record{}, false
	}
	return r, true
}

func (e *epoch) peek(p *partition, l *locator) (version.Record, bool) {
	// Whoever holds the lock for writing may be reading the disk, or waiting for a flush.
	if !p.mu.TryRLock() {
		return version.Record{}, false
	}
	defer p.mu.RUnlock()
	r, ok := e.cache.get(l.hash, l.enc)
	if !ok {
		return version.Record{}, false
	}
	return r.Fill(p.clock), true
}
