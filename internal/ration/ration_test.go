package ration

import (
	"testing"
	"time"
)

func TestTake(t *testing.T) {
	r := New(time.Second)
	start := time.Unix(1, 0)
	for _, step := range []struct {
		after time.Duration
		held  uint64
		ok    bool
	}{
		{0, 0, true}, {0, 0, false}, {time.Second - 1, 0, false},
		{time.Second, 2, true}, {time.Second, 0, false},
		{2 * time.Second, 1, true}, {9 * time.Second, 0, true},
	} {
		if held, ok := r.Take(start.Add(step.after)); held != step.held || ok != step.ok {
			t.Errorf("after %v: %d held back, %t; want %d, %t", step.after, held, ok, step.held, step.ok)
		}
	}
	for range 3 {
		if held, ok := new(Ration).Take(start); held != 0 || !ok {
			t.Errorf("the zero Ration: %d, %t", held, ok)
		}
	}
}
