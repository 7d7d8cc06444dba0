package coordinator

import (
	"context"
	"errors"
	"testing"

	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/version"
)

// A write that nobody came to before its time was up certainly was not made, and 504 is for those that may have been.
func TestTooLateIsNotWritten(t *testing.T) {
	hworld(t, 3, func(_ *world, o, _ []*scenarioNode) {
		req := &PutRequest{Options: Options{Timeout: -1}, Bucket: "b", Key: "k", Value: []byte("v")}
		_, err := o[0].coord.Put(context.Background(), req, quorum.Params{N: 3, W: quorum.Quorum, R: quorum.Quorum}, version.LWW)
		var e *Error
		if !errors.As(err, &e) || e.Code != Overloaded || e.Indeterminate || e.RetryAfter == 0 {
			t.Fatalf("%+v", err)
		}
		if _, held := o[0].store.Peek(keyOf(o[0].View(), "b", "k")); held {
			t.Error("it was written")
		}
	})
}
