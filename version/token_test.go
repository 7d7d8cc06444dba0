package version

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// site is one coordinator that takes siblings writes to one key, with an actor of its own.
type site struct {
	actor  Actor
	count  uint64
	record Record
}

func (s *site) put(t interface{ Fatal(...any) }, request *Token) (Token, Dot) {
	s.count++
	w := Write{Dot: Dot{s.actor, s.count}, Mode: Siblings}
	after := s.record.MaxStamp()
	if request != nil {
		w.Context, after = request.Vector, Later(after, request.Stamp)
	}
	w.Stamp = Stamp{after.Time + 1, s.actor.ID}
	result, err := Supersede(s.record, w)
	if err != nil {
		t.Fatal(err)
	}
	s.record = result
	return PutToken(result, request, w.Dot), w.Dot
}

// Two clients write blindly through one coordinator. With one counter per key or per client, or with a PUT's token that
// covers the other's value, this explodes or loses values (LESSONS: "the PUT's returned context must not contain what the client has not read").
func TestPutTokenHidesSiblings(t *testing.T) {
	s := &site{actor: Actor{1, 3}}
	ta, a := s.put(t, nil)
	tb, b := s.put(t, nil)
	if tb.Vector.Covers(a) || !tb.Vector.Covers(b) {
		t.Fatalf("token of the second PUT: %v", tb.Vector)
	}
	_, b2 := s.put(t, &tb)
	if got := dots(s.record); !slices.Equal(got, []Dot{a, b2}) {
		t.Fatalf("live after replacing the second: %v", got)
	}
	tc, c := s.put(t, &ta)
	if got := dots(s.record); !slices.Equal(got, []Dot{b2, c}) {
		t.Fatalf("live: %v", got)
	}
	if want := []Dot{c}; !slices.Equal(tc.Seen, want) || tc.Vector.Covers(b2) || !tc.Vector.Covers(a) {
		t.Fatalf("token %v", tc)
	}
	all := ReadToken(s.record)
	if _, d := s.put(t, &all); len(s.record.Versions) != 1 || s.record.Versions[0].Dot != d {
		t.Fatalf("a write that has seen all left\n%v", s.record)
	}
}

func dots(r Record) []Dot {
	out := []Dot{}
	for _, v := range r.Versions {
		out = append(out, v.Dot)
	}
	return out
}

// LESSONS "Sibling explosion": clients use the token of their own last answer, whether PUT or GET, at any coordinator, behind or not.
func TestNoSiblingExplosion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sites := []*site{{actor: Actor{1, 3}}, {actor: Actor{2, 3}}, {actor: Actor{3, 3}}}
		clients := make([]*Token, rapid.IntRange(1, 4).Draw(t, "clients"))
		writer := map[Dot]int{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			s := sites[rapid.IntRange(0, 2).Draw(t, "site")]
			c := rapid.IntRange(0, len(clients)-1).Draw(t, "client")
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				from := sites[rapid.IntRange(0, 2).Draw(t, "from")]
				s.record = Merge(s.record, from.record)
			case 1:
				if clients[c] == nil || Satisfied(*clients[c], s.record) {
					token := ReadToken(s.record)
					clients[c] = &token
				}
			default:
				token, own := s.put(t, clients[c])
				clients[c], writer[own] = &token, c
			}
		}
		records := []Record{sites[0].record, sites[1].record, sites[2].record}
		for _, r := range append(records, Merge(records[0], Merge(records[1], records[2]))) {
			of := map[int]Dot{}
			for _, d := range dots(r) {
				if other, twice := of[writer[d]]; twice {
					t.Fatalf("%v and %v of one client are both alive", d, other)
				}
				of[writer[d]] = d
			}
		}
	})
}

// A chain of PUTs demands its last write only, and that suffices for all of them.
func TestSessionSeesItsPast(t *testing.T) {
	a, b := &site{actor: Actor{1, 3}}, &site{actor: Actor{2, 3}}
	token, first := a.put(t, nil)
	token, second := b.put(t, &token)
	if len(token.Seen) != 1 || Satisfied(token, a.record) || !Satisfied(token, b.record) {
		t.Fatalf("after two PUTs: %v", token)
	}
	if !b.record.Covers(first) || !slices.Equal(dots(Merge(a.record, b.record)), []Dot{second}) {
		t.Fatal("a write was seen without its past")
	}
	if !Satisfied(Token{}, Record{}) {
		t.Fatal("an empty token demands something")
	}
}

func TestDecodeTokenRefuses(t *testing.T) {
	s := &site{actor: Actor{7, 3}}
	token, own := s.put(t, nil)
	good := token.Encode("bucket", "key")
	if _, err := DecodeToken(good, "bucket", "key"); err != nil {
		t.Fatal(err)
	}
	uncovered := Token{Seen: []Dot{own}}
	late := Token{Stamp: Stamp{math.MaxUint64, 7}}
	twice := Token{Vector: token.Vector, Seen: []Dot{own, own}}
	cases := []struct{ name, token, bucket, key string }{
		{"empty", "", "bucket", "key"},
		{"not base64", "!", "bucket", "key"},
		{"padded", good + "=", "bucket", "key"},
		{"short", good[:len(good)-4], "bucket", "key"},
		{"changed", "B" + good[1:], "bucket", "key"},
		{"other key", good, "bucket", "kez"},
		{"other bucket", good, "bucke", "tkey"},
		{"demands what it does not cover", uncovered.Encode("bucket", "key"), "bucket", "key"},
		{"demands one dot twice", twice.Encode("bucket", "key"), "bucket", "key"},
		{"end of time", late.Encode("bucket", "key"), "bucket", "key"},
		{"too long", strings.Repeat("A", MaxToken+1), "bucket", "key"},
	}
	for _, c := range cases {
		if _, err := DecodeToken(c.token, c.bucket, c.key); !errors.Is(err, ErrToken) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestETag(t *testing.T) {
	s := &site{actor: Actor{7, 3}}
	if ETag(s.record) != "" {
		t.Fatal("nothing has a tag")
	}
	s.put(t, nil)
	one := ETag(s.record)
	if one != ETag(s.record.Strip(s.record.Vector).Elide(0)) {
		t.Fatal("the tag depends on more than the versions")
	}
	s.put(t, nil)
	two := ETag(s.record)
	beside := s.record
	beside.Versions = slices.Clone(beside.Versions)
	beside.Versions[1].Deleted = true
	if two == one || ETag(beside) != one {
		t.Fatalf("tags: one %s, two %s, one beside a tombstone %s", one, two, ETag(beside))
	}
	if want := fmt.Sprintf("%q", strings.Trim(two, `"`)); two != want {
		t.Fatalf("tag %s is not quoted", two)
	}
}
