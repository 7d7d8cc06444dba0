package node

import (
	"testing"

	"github.com/quorate/quorate/repair"
	"github.com/quorate/quorate/store"
	"github.com/quorate/quorate/transport"
)

// TestFramesHoldTheLargestRecord: whatever a store may keep can be sent, also as the last one on a page: an owner that cannot be given a record is
// not caught up with, nor served, in anything that comes behind it.
func TestFramesHoldTheLargestRecord(t *testing.T) {
	const around = 4 << 10 // its bucket and key, and the rest of the message
	frame, record := transport.DefaultConfig().MaxFrame, store.DefaultOptions().MaxRecord
	for what, page := range map[string]int{"a write": 0, "log exchange": repair.DefaultExchangeConfig().Page, "hand-offs": repair.DefaultDeliverConfig().Page} {
		if most := page + record + around; most > frame {
			t.Errorf("a message of %s may have %d bytes, a frame %d", what, most, frame)
		}
	}
}
