package transport

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The bytes of docs/formats: a change here is a change of the protocol.
func TestHeadBytes(t *testing.T) {
	for _, test := range []struct {
		name string
		head head
		want string
	}{
		{"request", head{typ: frameRequest, code: 7, call: 0x0102, due: 5_000_000, body: 3}, "11000000" + "01" + "07" + "0201000000000000" + "404b4c00"},
		{"response", head{typ: frameResponse, code: 16, call: 0x0102, body: 0}, "0e000000" + "02" + "10" + "0201000000000000" + "00000000"},
		{"ping", head{typ: framePing}, "0e000000" + "03" + "00" + "0000000000000000" + "00000000"},
		{"pong", head{typ: framePong}, "0e000000" + "04" + "00" + "0000000000000000" + "00000000"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var b [headSize]byte
			test.head.put(&b)
			if got := hex.EncodeToString(b[:]); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestHeadRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := head{typ: frameRequest, code: rapid.Uint8().Draw(t, "code"), call: rapid.Uint64Min(1).Draw(t, "call"), body: rapid.IntRange(0, 1000).Draw(t, "body")}
		if rapid.Bool().Draw(t, "response") {
			h.typ = frameResponse
		} else {
			h.due = rapid.Uint32().Draw(t, "due")
		}
		var b [headSize]byte
		h.put(&b)
		if got, err := parseHead(b[:], 1000); err != nil || got != h {
			t.Fatalf("got %+v, %v, want %+v", got, err, h)
		}
	})
}

func TestHeadRejects(t *testing.T) {
	for _, test := range []struct {
		name string
		head string
	}{
		{"length below the head", "0d000000" + "01" + "00" + "0100000000000000" + "01000000"},
		{"length above the limit", "0f040000" + "01" + "00" + "0100000000000000" + "01000000"},
		{"length beyond int32", "ffffffff" + "01" + "00" + "0100000000000000" + "01000000"},
		{"type 0", "0e000000" + "00" + "00" + "0100000000000000" + "00000000"},
		{"type 5", "0e000000" + "05" + "00" + "0100000000000000" + "00000000"},
		{"request 0", "0e000000" + "01" + "00" + "0000000000000000" + "01000000"},
		{"response 0", "0e000000" + "02" + "00" + "0000000000000000" + "00000000"},
		{"response with a deadline", "0e000000" + "02" + "00" + "0100000000000000" + "01000000"},
		{"ping with a body", "0f000000" + "03" + "00" + "0000000000000000" + "00000000"},
		{"pong with a number", "0e000000" + "04" + "00" + "0100000000000000" + "00000000"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, err := hex.DecodeString(test.head)
			must(t, err)
			if h, err := parseHead(b, 1024); !errors.Is(err, ErrProtocol) {
				t.Errorf("got %+v, %v, want ErrProtocol", h, err)
			}
		})
	}
}

func TestDues(t *testing.T) {
	began := time.Now()
	const day = 24 * time.Hour
	for _, test := range []struct {
		deadline   time.Duration // since the handshake
		read       time.Duration
		due        uint32
		understood time.Duration
	}{
		{2 * time.Second, time.Second, 2000, 2 * time.Second},
		{2 * time.Second, time.Minute, 2000, 2 * time.Second},
		{1500 * time.Microsecond, 0, 2, 2 * time.Millisecond},
		{60 * day, 60 * day, 60 * 86_400_000 & (1<<32 - 1), 60 * day},
		{60 * day, 84 * day, 60 * 86_400_000 & (1<<32 - 1), 60 * day},
		{0, time.Second, 0, 0},
	} {
		d := dues{began}
		due := d.put(began.Add(test.deadline))
		if due != test.due {
			t.Errorf("%+v: put %d", test, due)
		}
		if got := d.read(due, began.Add(test.read)).Sub(began); got != test.understood {
			t.Errorf("%+v: read %v", test, got)
		}
	}
}

func FuzzHead(f *testing.F) {
	for _, h := range []head{{typ: frameRequest, call: 1, due: 1, body: 10}, {typ: frameResponse, code: 3, call: 9}, {typ: framePing}} {
		var b [headSize]byte
		h.put(&b)
		f.Add(b[:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < headSize {
			return
		}
		h, err := parseHead(b, 1<<20)
		if err != nil {
			if !errors.Is(err, ErrProtocol) {
				t.Fatalf("error %v is not ErrProtocol", err)
			}
			return
		}
		var again [headSize]byte
		h.put(&again)
		if h.body > 1<<20 || !bytes.Equal(again[:], b[:headSize]) {
			t.Fatalf("%x parsed as %+v, which is %x", b[:headSize], h, again)
		}
	})
}
