package transport

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/quorate/quorate/ring"
)

func someHello() hello {
	return hello{min: 1, max: 2, self: idOf(1), want: idOf(2), maxFrame: 4096, cluster: "quorate", name: "node-1"}
}

// The bytes of docs/formats: every version, past and to come, begins its handshake so.
func TestHelloBytes(t *testing.T) {
	want := hex.EncodeToString([]byte("quorate\x01")) + "3600" + "000102" +
		"01000000000000000000000000000001" + "02000000000000000000000000000002" + "00100000" +
		"07" + hex.EncodeToString([]byte("quorate")) + "06" + hex.EncodeToString([]byte("node-1"))
	if got := hex.EncodeToString(someHello().append(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestHelloRoundTrip(t *testing.T) {
	long := someHello()
	long.cluster, long.name = strings.Repeat("c", maxName), strings.Repeat("n", maxName)
	for _, h := range []hello{someHello(), long} {
		b := append(h.append(nil), "what follows"...)
		r := bytes.NewReader(b)
		got, err := readHello(r)
		if err != nil || got != h || r.Len() != len("what follows") {
			t.Errorf("got %+v, %v and %d bytes left, want %+v", got, err, r.Len(), h)
		}
	}
}

func TestHelloSkipsWhatLaterVersionsAppend(t *testing.T) {
	b := someHello().append(nil)
	b[len(helloMagic)] += 3
	got, err := readHello(bytes.NewReader(append(b, 1, 2, 3)))
	if err != nil || got != someHello() {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestHelloCutShort(t *testing.T) {
	whole := someHello().append(nil)
	for n := range whole {
		if h, err := readHello(bytes.NewReader(whole[:n])); err == nil {
			t.Errorf("the first %d bytes read as %+v", n, h)
		}
	}
}

// TestJudge holds what the acceptor answers and what the dialer makes of it.
func TestJudge(t *testing.T) {
	acceptor := hello{min: 2, max: 3, self: idOf(2), maxFrame: 1, cluster: "quorate", name: "node-2"}
	dialer := hello{min: 2, max: 3, self: idOf(1), want: idOf(2), maxFrame: 1, cluster: "quorate", name: "node-1"}
	for _, test := range []struct {
		name    string
		change  func(*hello)
		verdict verdict
		version uint8  // if accepted
		says    string // in the dialer's error
	}{
		{"same", func(*hello) {}, verdictAccepted, 3, ""},
		{"anybody wanted", func(h *hello) { h.want = ring.ID{} }, verdictAccepted, 3, ""},
		{"itself", func(h *hello) { h.self = idOf(2) }, verdictAccepted, 3, ""},
		{"one version behind", func(h *hello) { h.min, h.max = 1, 2 }, verdictAccepted, 2, ""},
		{"one version ahead", func(h *hello) { h.min, h.max = 3, 4 }, verdictAccepted, 3, ""},
		{"two versions behind", func(h *hello) { h.min, h.max = 1, 1 }, verdictVersion, 0, "protocol versions 2 to 3, this node 1 to 1"},
		{"two versions ahead", func(h *hello) { h.min, h.max = 4, 5 }, verdictVersion, 0, "protocol versions 2 to 3, this node 4 to 5"},
		{"another cluster", func(h *hello) { h.cluster = "other" }, verdictForeign, 0, `cluster "quorate" answered, this node is of "other"`},
		{"another node", func(h *hello) { h.want = idOf(3) }, verdictStranger, 0, idOf(3).String() + " was wanted"},
	} {
		t.Run(test.name, func(t *testing.T) {
			own := dialer
			test.change(&own)
			answer := acceptor.judge(own)
			if answer.verdict != test.verdict {
				t.Errorf("verdict %d, want %d", answer.verdict, test.verdict)
			}
			err := own.accept(answer)
			if test.verdict == verdictAccepted {
				if err != nil || answer.min != test.version || answer.max != test.version {
					t.Errorf("version %d to %d, %v, want %d", answer.min, answer.max, err, test.version)
				}
				return
			}
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want ErrRefused that says %q", err, test.says)
			}
		})
	}
}

// TestAcceptTrustsNoVerdict: an acceptor that says "accepted" must still be the right one.
func TestAcceptTrustsNoVerdict(t *testing.T) {
	dialer := hello{min: 2, max: 3, self: idOf(1), want: idOf(2), maxFrame: 1, cluster: "quorate", name: "node-1"}
	right := hello{min: 3, max: 3, self: idOf(2), want: idOf(1), maxFrame: 1, cluster: "quorate", name: "node-2"}
	if err := dialer.accept(right); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*hello){
		"cluster": func(h *hello) { h.cluster = "other" },
		"node":    func(h *hello) { h.self = idOf(3) },
		"version": func(h *hello) { h.min, h.max = 4, 4 },
		"verdict": func(h *hello) { h.verdict = 99 },
		"dialer":  func(h *hello) { h.want = idOf(9) },
	} {
		wrong := right
		change(&wrong)
		if err := dialer.accept(wrong); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: got %v, want ErrRefused", name, err)
		}
	}
}

func FuzzHello(f *testing.F) {
	f.Add(someHello().append(nil))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readHello(bytes.NewReader(b))
		if err != nil {
			return
		}
		again, err := readHello(bytes.NewReader(h.append(nil)))
		if err != nil || again != h {
			t.Fatalf("%x read as %+v, which reads as %+v, %v", b, h, again, err)
		}
	})
}
