package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Log is the record of a run.
type Log struct {
	Marks []Mark // what was done to the cluster, in the order of time
	Ops   []Op
}

// Mark is a moment of the run, on the clock of the operations.
type Mark struct {
	Name string `json:"name"`
	At   int64  `json:"at_ns"`
}

// The format's name and version, in the first line of a log.
const (
	formatName    = "quorate-ops"
	formatVersion = 1
)

// Bounds of logs.
const (
	maxLine  = 256 << 10 // of bytes: twice what MaxValues need, as returned and as seen
	maxMarks = 1024
)

// header is the first line.
type header struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Marks   []Mark `json:"marks"`
}

// line is an operation as docs/formats has it.
type line struct {
	ID       uint64  `json:"id"`
	Client   uint32  `json:"client"`
	Seq      uint64  `json:"seq,omitempty"`
	Kind     Kind    `json:"kind"`
	Bucket   string  `json:"bucket"`
	Key      string  `json:"key"`
	N        int     `json:"n"`
	W        int     `json:"w"`
	R        int     `json:"r"`
	Due      int64   `json:"due_ns"`
	Invoked  int64   `json:"invoked_ns"`
	Returned int64   `json:"returned_ns"`
	Node     string  `json:"node,omitempty"`
	Side     string  `json:"side,omitempty"`
	Phase    string  `json:"phase,omitempty"`
	Outcome  Outcome `json:"outcome"`
	Reason   string  `json:"reason,omitempty"`
	Values   []Value `json:"values,omitempty"`
	Saw      []Value `json:"saw,omitempty"`
	NoRepair bool    `json:"no_repair,omitempty"`
	Local    bool    `json:"local,omitempty"`
	Final    bool    `json:"final,omitempty"`
}

// Encode writes a log as NDJSON: a header, then an operation a line. It refuses operations that Validate refuses.
func Encode(w io.Writer, l Log) error {
	out := bufio.NewWriter(w)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	head := header{formatName, formatVersion, l.Marks}
	if head.Marks == nil {
		head.Marks = []Mark{}
	}
	if err := head.validate(); err != nil {
		return err
	}
	if err := encoder.Encode(head); err != nil {
		return err
	}
	for i := range l.Ops {
		if err := l.Ops[i].Validate(); err != nil {
			return fmt.Errorf("operation %d: %w", l.Ops[i].ID, err)
		}
		if err := encoder.Encode(line(l.Ops[i])); err != nil {
			return err
		}
	}
	return out.Flush()
}

// Decode reads a log. It is strict: an unknown field or an operation that Validate refuses is an error, which names the line.
func Decode(r io.Reader) (Log, error) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxLine)
	var l Log
	number := 0
	for in.Scan() {
		number++
		var err error
		if number == 1 {
			l.Marks, err = decodeHeader(in.Bytes())
		} else {
			l.Ops, err = appendOp(l.Ops, in.Bytes())
		}
		if err != nil {
			return Log{}, fmt.Errorf("line %d: %w", number, err)
		}
	}
	if err := in.Err(); err != nil {
		return Log{}, fmt.Errorf("line %d: %w", number+1, err)
	}
	if number == 0 {
		return Log{}, errors.New("empty: want a header")
	}
	return l, nil
}

func decodeHeader(text []byte) ([]Mark, error) {
	var head header
	if err := decodeLine(text, &head); err != nil {
		return nil, err
	}
	if err := head.validate(); err != nil {
		return nil, err
	}
	if len(head.Marks) == 0 {
		return nil, nil
	}
	return head.Marks, nil
}

func (h *header) validate() error {
	if h.Format != formatName || h.Version != formatVersion {
		return fmt.Errorf("format %.40q version %d: want %s version %d", h.Format, h.Version, formatName, formatVersion)
	}
	if len(h.Marks) > maxMarks {
		return fmt.Errorf("%d marks: want at most %d", len(h.Marks), maxMarks)
	}
	for _, m := range h.Marks {
		if m.Name == "" || len(m.Name) > maxText || !utf8.ValidString(m.Name) || m.At < 0 {
			return fmt.Errorf("mark %.60q at %d", m.Name, m.At)
		}
	}
	return nil
}

func appendOp(ops []Op, text []byte) ([]Op, error) {
	var l line
	if err := decodeLine(text, &l); err != nil {
		return nil, err
	}
	o := Op(l)
	if len(o.Values) == 0 {
		o.Values = nil
	}
	if len(o.Saw) == 0 {
		o.Saw = nil
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return append(ops, o), nil
}

// decodeLine reads exactly one JSON value.
func decodeLine(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}
