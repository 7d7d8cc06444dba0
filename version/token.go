package version

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/quorate/quorate/internal/mutation"
)

// MaxToken is the longest token in characters. A token has about 17 characters for each opening of a node whose
// writes lie in the key's partition, so this is room for several thousand of them.
const MaxToken = 64 << 10

// maxTokenTime keeps stamps that a client makes up 19 hours below the end of the range (the year 2112): no number
// of honest writes after one can use that room up.
const maxTokenTime = math.MaxUint64 - 1<<48

// ErrToken is returned for a token that this package did not write for that bucket and key. Clients read its text.
var ErrToken = errors.New("not a valid context for this key")

// Token is what a client has seen of one key. The zero value has seen nothing. It may share memory with the record that
// it was made of.
type Token struct {
	Vector Vector // what a write with this token replaces
	Seen   []Dot  // what a read with this token must have seen, sorted; all of it is in Vector
	Stamp  Stamp  // no lower than the stamp of anything in Vector
}

// ReadToken is the token of an answer that showed a full record: all of it, tombstones included.
func ReadToken(r Record) Token {
	t := Token{Vector: r.Vector, Stamp: r.MaxStamp()}
	if len(r.Versions) > 0 {
		t.Seen = make([]Dot, len(r.Versions))
	}
	for i := range r.Versions {
		t.Seen[i] = r.Versions[i].Dot
	}
	return t
}

// PutToken is the token of a write's answer: the resulting full record's vector, less the versions that the client has
// neither seen (request) nor written (own). A nil request saw nothing.
//
// Seen is the own dot alone: the write's context was request's vector, so whoever has seen the write has seen all that
// the request had. A session's tokens therefore do not grow.
func PutToken(result Record, request *Token, own Dot) Token {
	t := Token{Vector: result.Vector, Seen: []Dot{own}, Stamp: result.MaxStamp()}
	shared := true
	for i := range result.Versions {
		d := result.Versions[i].Dot
		if d != own && (request == nil || !request.Vector.Covers(d)) && !mutation.MergedContext {
			if shared {
				t.Vector, shared = t.Vector.Clone(), false
			}
			t.Vector.Remove(d)
		}
	}
	return t
}

// Satisfied reports whether a full record is at least as new as what the token demands.
func Satisfied(t Token, r Record) bool {
	for _, d := range t.Seen {
		if !r.Covers(d) {
			return false
		}
	}
	return true
}

// Encode writes the token as text for a header (base64url without padding), bound to bucket and key.
func (t Token) Encode(bucket, key string) string {
	var room [192]byte // enough for a dozen openings of nodes
	b := AppendVector(append(room[:0], format), t.Vector)
	b = binary.AppendUvarint(b, uint64(len(t.Seen)))
	for _, d := range t.Seen {
		b = appendDot(b, d)
	}
	b = appendStamp(b, t.Stamp)
	b = binary.BigEndian.AppendUint64(b, tokenSum(b, bucket, key))
	var text [256]byte
	return string(base64.RawURLEncoding.AppendEncode(text[:0], b))
}

// DecodeToken reads what Encode wrote for the same bucket and key; anything else is ErrToken. The checksum guards
// against mistakes, not against malice: whoever may write the key can make a token up.
func DecodeToken(s, bucket, key string) (Token, error) {
	if len(s) > MaxToken {
		return Token{}, fmt.Errorf("%w: longer than %d characters", ErrToken, MaxToken)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if strings.ContainsAny(s, "\r\n") { // the decoder skips line ends, and each token has one text only
		return Token{}, fmt.Errorf("%w: malformed", ErrToken)
	}
	if err != nil || len(b) < 8 || b[0] != format {
		return Token{}, fmt.Errorf("%w: malformed", ErrToken)
	}
	b, sum := b[:len(b)-8], binary.BigEndian.Uint64(b[len(b)-8:])
	if sum != tokenSum(b, bucket, key) {
		return Token{}, fmt.Errorf("%w: checksum differs", ErrToken)
	}
	var t Token
	r := reader{b: b[1:]}
	r.vector(&t.Vector)
	if n := r.count(minDot); n > 0 {
		t.Seen = make([]Dot, n)
	}
	for i := range t.Seen {
		t.Seen[i] = r.dot()
		r.check(t.Vector.Covers(t.Seen[i]) && (i == 0 || t.Seen[i-1].Compare(t.Seen[i]) < 0))
	}
	t.Stamp = r.stamp()
	r.check(len(r.rest()) == 0 && t.Stamp.Time <= maxTokenTime)
	if r.bad {
		return Token{}, fmt.Errorf("%w: malformed", ErrToken)
	}
	return t, nil
}

// tokenSum hashes the payload with bucket and key, each led by its length so that no two pairs run together.
func tokenSum(payload []byte, bucket, key string) uint64 {
	var length [binary.MaxVarintLen64]byte
	var h xxhash.Digest
	h.Reset()
	for _, s := range [2]string{bucket, key} {
		_, _ = h.Write(binary.AppendUvarint(length[:0], uint64(len(s)))) // a Digest never fails
		_, _ = h.WriteString(s)
	}
	_, _ = h.Write(payload)
	return h.Sum64()
}

// ETag is a strong entity tag, with its quotes, of what a reader is shown: the versions with a value. A record that
// shows nothing has none, and ETag returns "".
func ETag(r Record) string {
	var room [64]byte
	b := room[:0]
	for v := range r.Live() {
		b = appendDot(b, v.Dot)
	}
	if len(b) == 0 {
		return ""
	}
	var text [18]byte
	tag := strconv.AppendUint(append(text[:0], '"'), xxhash.Sum64(b), 16)
	return string(append(tag, '"'))
}
