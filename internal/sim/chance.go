package sim

import (
	"math/rand/v2"
	"sync"
)

// chance is a seeded source that goroutines share. In which order they draw from it is up to the scheduler: doc.go, "What is deterministic".
type chance struct {
	mu sync.Mutex
	r  *rand.Rand
}

func newChance(seed, stream uint64) *chance { return &chance{r: rand.New(rand.NewPCG(seed, stream))} }

func (c *chance) float() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.r.Float64()
}

func (c *chance) exp() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.r.ExpFloat64()
}

func (c *chance) uint64() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.r.Uint64()
}
