package node

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestRingWaitsForTheStart asks a node that has not been started to change the ring.
func TestRingWaitsForTheStart(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Name, cfg.Data = "node-1", "data"
	cfg.Gossip, cfg.RPC = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.Store.FS = vfs.NewMem()
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close(t.Context())
	if err := n.Leave(t.Context()); !errors.Is(err, errNotStarted) {
		t.Errorf("Leave: %v", err)
	}
	if err := n.Remove(t.Context(), "node-2", true); !errors.Is(err, errNotStarted) {
		t.Errorf("Remove: %v", err)
	}
}
