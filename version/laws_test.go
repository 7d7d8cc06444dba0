package version

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func clone(r Record) Record {
	r.Vector = r.Vector.Clone()
	r.Versions = slices.Clone(r.Versions)
	for i := range r.Versions {
		r.Versions[i].Value = bytes.Clone(r.Versions[i].Value)
	}
	return r
}

func requireEqual(t *rapid.T, want, got Record, what string) {
	if !want.Equal(got) {
		t.Fatalf("%s:\n%v\nis not\n%v", what, got, want)
	}
}

// requireNormal checks the normal form, which Equal and the codec rely on.
func requireNormal(t *rapid.T, v Vector) {
	for i, e := range v.entries {
		if i > 0 && v.entries[i-1].Actor.Compare(e.Actor) >= 0 || e.isEmpty() {
			t.Fatalf("vector out of order: %v", v)
		}
		prev := e.Base
		for _, iv := range e.Detached {
			if iv.Lo <= prev+1 || iv.Hi < iv.Lo {
				t.Fatalf("vector not in normal form: %v", v)
			}
			prev = iv.Hi
		}
	}
}

// reached returns records of key 0 that replicas of a world can hold or send, with what the model says they hold.
func reached(t *rapid.T) []snapshot {
	modes := rapid.SampledFrom([][]Mode{{LWW}, {Siblings}, {LWW, Siblings}}).Draw(t, "modes")
	w := newWorld(t, modes)
	actions := w.actions()
	names := []string{"write", "write", "read", "send", "deliver", "exchange", "restart", "forget"}
	for range rapid.IntRange(5, 40).Draw(t, "steps") {
		actions[rapid.SampledFrom(names).Draw(t, "action")](t)
	}
	for _, r := range w.replicas {
		w.send(r, 0)
	}
	return slices.DeleteFunc(w.sent, func(s snapshot) bool { return s.key != 0 })
}

func TestMergeLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := reached(t)
		pick := func(label string) snapshot {
			s := all[rapid.IntRange(0, len(all)-1).Draw(t, label)]
			if rapid.Bool().Draw(t, "elided") {
				s.record = s.record.Elide(0)
			}
			return s
		}
		sa, sb, sc := pick("a"), pick("b"), pick("c")
		a, b, c := sa.record, sb.record, sc.record
		ca, cb := clone(a), clone(b)
		ab := Merge(a, b)
		requireEqual(t, ca, a, "Merge changed its first argument")
		requireEqual(t, cb, b, "Merge changed its second argument")
		requireEqual(t, ab, Merge(b, a), "not commutative")
		requireEqual(t, a, Merge(a, a), "not idempotent")
		requireEqual(t, ab, Merge(ab, b), "not absorbing")
		requireEqual(t, Merge(a, Merge(b, c)), Merge(ab, c), "not associative")
		requireEqual(t, a, Merge(a, Record{}), "no identity")
		requireVanishedForCause(t, a, b, ab)
		requireVanishedForCause(t, b, a, ab)
		want := merged(sa.knows, sb.knows).live()
		if !slices.EqualFunc(ab.Versions, want, func(v Version, d Dot) bool { return v.Dot == d }) {
			t.Fatalf("model: %v, merge:\n%v", want, ab)
		}
		if ab.SameVersions(a) != slices.Equal(want, sa.knows.live()) {
			t.Fatalf("SameVersions of\n%v\nand\n%v: %v", a, ab, ab.SameVersions(a))
		}
	})
}

func requireVanishedForCause(t *rapid.T, from, other, result Record) {
	for _, v := range from.Versions {
		i := slices.IndexFunc(result.Versions, func(o Version) bool { return o.Dot == v.Dot })
		beaten := v.Mode == LWW && v.Stamp.Compare(other.MaxLWW) < 0
		if i < 0 && !other.Covers(v.Dot) && !beaten {
			t.Fatalf("%v vanished without cause in\n%v\nwith\n%v", v, from, other)
		}
		if i >= 0 && (result.Versions[i].Stamp != v.Stamp || result.Versions[i].Size != v.Size || result.Versions[i].Elided && !v.Elided) {
			t.Fatalf("%v became %v", v, result.Versions[i])
		}
	}
}

// The values that share a record with another's must not be overwritten by work on the other.
func TestMergeSharesNoVector(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := reached(t)
		a := all[rapid.IntRange(0, len(all)-1).Draw(t, "a")].record
		b := all[rapid.IntRange(0, len(all)-1).Draw(t, "b")].record
		ca, cb := clone(a), clone(b)
		for _, r := range []Record{Merge(a, b), Merge(b, a), a.Fill(b.Vector), a.Strip(b.Vector)} {
			for _, d := range drawDots(t) {
				r.Vector.Add(d)
				r.Vector.Remove(Dot{d.Actor, d.Counter / 2})
			}
			for _, e := range ca.Vector.Entries() {
				r.Vector.Remove(Dot{e.Actor, 1})
				r.Vector.AddBase(e.Actor, e.Base+3)
			}
		}
		requireEqual(t, ca, a, "a vector is shared with the first argument")
		requireEqual(t, cb, b, "a vector is shared with the second argument")
	})
}

func TestStripFill(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := reached(t)
		r := all[rapid.IntRange(0, len(all)-1).Draw(t, "record")].record
		if rapid.Bool().Draw(t, "random vector") {
			r.Vector = drawVector(t)
		}
		clock := rapid.SampledFrom([]Vector{r.Vector, all[0].record.Vector, drawVector(t)}).Draw(t, "clock").Clone()
		for _, e := range r.Vector.Entries() {
			if rapid.Bool().Draw(t, "clock has a base") {
				clock.AddBase(e.Actor, rapid.Uint64Range(1, 20).Draw(t, "base"))
			}
		}
		before := clone(r)
		stripped := r.Strip(clock)
		requireEqual(t, before, r, "Strip changed its argument")
		requireNormal(t, stripped.Vector)
		if !r.Vector.CoversAll(stripped.Vector) {
			t.Fatalf("Strip added: %v to %v", r.Vector, stripped.Vector)
		}
		requireEqual(t, stripped, stripped.Strip(clock), "Strip is not idempotent")
		later := clock.Clone()
		later.Limit(rapid.IntRange(0, 2).Draw(t, "intervals kept"))
		if rapid.Bool().Draw(t, "clock grew") {
			later.Merge(drawVector(t))
		}
		requireEqual(t, r.Fill(later), stripped.Fill(later), "the clock did not restore what was stripped")
		if full := r.Fill(clock); !full.Vector.CoversAll(r.Vector) || !full.Strip(clock).Fill(clock).Equal(full) {
			t.Fatalf("Fill of %v by %v is %v", r.Vector, clock, full.Vector)
		}
	})
}

func TestRecordCodecRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := reached(t)
		r := all[rapid.IntRange(0, len(all)-1).Draw(t, "record")].record
		switch rapid.IntRange(0, 2).Draw(t, "form") {
		case 0:
			r = r.Elide(0)
		case 1:
			r = r.Strip(r.Vector)
		}
		prefix := []byte("prefix")
		b := AppendRecord(prefix, r)[len(prefix):]
		back, err := DecodeRecord(b)
		if err != nil {
			t.Fatal(err)
		}
		requireEqual(t, r, back, "decoded")
		cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		if _, err := DecodeRecord(b[:cut]); err == nil {
			t.Fatalf("%d of %d bytes decode", cut, len(b))
		}
	})
}

func TestTokenRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := reached(t)
		token := ReadToken(all[rapid.IntRange(0, len(all)-1).Draw(t, "record")].record)
		text := token.Encode("b", "k")
		got, err := DecodeToken(text, "b", "k")
		if err != nil || !got.Vector.Equal(token.Vector) || !slices.Equal(got.Seen, token.Seen) || got.Stamp != token.Stamp {
			t.Fatalf("token %v decodes to %v, %v", token, got, err)
		}
		if got.Encode("b", "k") != text {
			t.Fatal("a token has two encodings")
		}
	})
}
