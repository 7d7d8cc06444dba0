package version

import (
	"maps"
	"testing"

	"pgregory.net/rapid"
)

func drawActor(t *rapid.T) Actor {
	return Actor{ActorID(rapid.IntRange(1, 10).Draw(t, "actor")), rapid.SampledFrom([]uint8{3, 5}).Draw(t, "n")}
}

func drawDot(t *rapid.T) Dot {
	return Dot{drawActor(t), rapid.Uint64Range(1, 20).Draw(t, "counter")}
}

func drawDots(t *rapid.T) []Dot { return rapid.SliceOfN(rapid.Custom(drawDot), 0, 40).Draw(t, "dots") }

func drawVector(t *rapid.T) Vector {
	var v Vector
	for _, d := range drawDots(t) {
		for range rapid.IntRange(1, 4).Draw(t, "run") {
			v.Add(d)
			d.Counter++
		}
	}
	if rapid.Bool().Draw(t, "has base") {
		v.AddBase(drawActor(t), rapid.Uint64Range(1, 20).Draw(t, "base"))
	}
	return v
}

// pair is a vector and the same set spelled out.
type pair struct {
	v   Vector
	set dotSet
}

func (p *pair) check(t *rapid.T) {
	requireNormal(t, p.v)
	size := 0
	for _, e := range p.v.Entries() {
		size += int(e.Base)
		for _, iv := range e.Detached {
			size += int(iv.Hi - iv.Lo + 1)
		}
	}
	if size != len(p.set) {
		t.Fatalf("%v has %d dots, model %d", p.v, size, len(p.set))
	}
	for d := range p.set {
		if !p.v.Covers(d) {
			t.Fatalf("%v lacks %v", p.v, d)
		}
	}
}

func subset(a, b dotSet) bool {
	for d := range a {
		if !b[d] {
			return false
		}
	}
	return true
}

func TestVectorFollowsSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pairs := [3]pair{{set: dotSet{}}, {set: dotSet{}}, {set: dotSet{}}}
		pick := func(t *rapid.T) *pair { return &pairs[rapid.IntRange(0, 2).Draw(t, "vector")] }
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				p := pick(t)
				for _, d := range drawDots(t) {
					p.v.Add(d)
					p.set[d] = true
				}
			},
			"base": func(t *rapid.T) {
				p, a, base := pick(t), drawActor(t), rapid.Uint64Range(0, 20).Draw(t, "base")
				p.v.AddBase(a, base)
				for c := range base {
					p.set[Dot{a, c + 1}] = true
				}
			},
			"remove": func(t *rapid.T) {
				p, d := pick(t), drawDot(t)
				p.v.Remove(d)
				delete(p.set, d)
			},
			"merge": func(t *rapid.T) {
				p, o := pick(t), pick(t)
				p.v.Merge(o.v)
				maps.Copy(p.set, o.set)
			},
			"clone": func(t *rapid.T) {
				p, o := pick(t), pick(t)
				p.v, p.set = o.v.Clone(), maps.Clone(o.set)
			},
			"": func(t *rapid.T) {
				for i := range pairs {
					a, b := &pairs[i], &pairs[(i+1)%3]
					a.check(t)
					if got := a.v.CoversAll(b.v); got != subset(b.set, a.set) {
						t.Fatalf("%v covers all of %v: %v", a.v, b.v, got)
					}
					if got := a.v.Equal(b.v); got != maps.Equal(a.set, b.set) {
						t.Fatalf("%v equals %v: %v", a.v, b.v, got)
					}
				}
			},
		})
	})
}

func TestVectorLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawVector(t)
		before, limit := v.Clone(), rapid.IntRange(0, 12).Draw(t, "limit")
		count := func(v Vector) (n int) {
			for _, e := range v.Entries() {
				n += len(e.Detached)
			}
			return n
		}
		had := count(v)
		bound := v.Limit(limit)
		requireNormal(t, v)
		requireNormal(t, bound)
		if count(v) != min(had, limit) {
			t.Fatalf("limit %d of %v: %v", limit, before, v)
		}
		for _, e := range before.Entries() {
			kept, _ := v.Entry(e.Actor)
			forgot, some := bound.Entry(e.Actor)
			if some == kept.CoversAll(e) || some && (forgot.Base != e.Highest() || len(forgot.Detached) > 0) {
				t.Fatalf("limit %d of %v: %v, and it forgot %v", limit, before, v, bound)
			}
		}
		if bound.Len() > before.Len() {
			t.Fatalf("forgot %v of %v", bound, before)
		}
		if !before.CoversAll(v) {
			t.Fatalf("limit over-reports: %v from %v", v, before)
		}
		for _, e := range before.Entries() {
			if kept, _ := v.Entry(e.Actor); kept.Base != e.Base {
				t.Fatalf("limit lost a base: %v from %v", v, before)
			}
		}
	})
}

func TestVectorCodecRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawVector(t)
		b := append(AppendVector(nil, v), "rest"...)
		back, rest, err := DecodeVector(b)
		if err != nil || string(rest) != "rest" || !back.Equal(v) {
			t.Fatalf("%v decodes to %v, rest %q, %v", v, back, rest, err)
		}
	})
}

func TestVectorAtTheEndOfCounters(t *testing.T) {
	a := Actor{1, 3}
	var v Vector
	v.Add(Dot{a, MaxCounter})
	v.Add(Dot{a, MaxCounter - 1})
	v.AddBase(a, MaxCounter-3)
	if got := v.String(); got != "{0000000000000001/3:9223372036854775804+9223372036854775806-9223372036854775807}" {
		t.Fatal(got)
	}
	if back, _, err := DecodeVector(AppendVector(nil, v)); err != nil || !back.Equal(v) {
		t.Fatal(back, err)
	}
	v.Add(Dot{a, MaxCounter - 2})
	if e, _ := v.Entry(a); e.Base != MaxCounter || len(e.Detached) != 0 {
		t.Fatal(v)
	}
}

// An entry whose intervals were absorbed keeps their memory, which a clone must not share.
func TestCloneSharesNoSpareMemory(t *testing.T) {
	a := Actor{1, 3}
	var v Vector
	v.Add(Dot{a, 5})
	v.AddBase(a, 5)
	c := v.Clone()
	v.Add(Dot{a, 10})
	c.Add(Dot{a, 20})
	if !v.Covers(Dot{a, 10}) || v.Covers(Dot{a, 20}) || c.Covers(Dot{a, 10}) {
		t.Fatal(v, c)
	}
}
