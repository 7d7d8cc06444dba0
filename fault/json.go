package fault

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

var (
	directionNames = []string{Both: "both", In: "in", Out: "out"}
	kindNames      = []string{Any: "any", Gossip: "gossip", Write: "write", Ack: "ack", Read: "read", Response: "response"}
	distNames      = []string{Fixed: "fixed", Uniform: "uniform", Exponential: "exponential"}
)

// String is the word of the JSON form.
func (d Direction) String() string { return nameOf(directionNames, uint8(d)) }

// String is the word of the JSON form.
func (k Kind) String() string { return nameOf(kindNames, uint8(k)) }

// String is the word of the JSON form.
func (d Dist) String() string { return nameOf(distNames, uint8(d)) }

func nameOf(names []string, value uint8) string {
	if int(value) >= len(names) {
		return fmt.Sprintf("unknown(%d)", value)
	}
	return names[value]
}

// document is the body of GET and PUT /faults.
type document struct {
	Rules []ruleJSON `json:"rules"`
}

type ruleJSON struct {
	Peer      string  `json:"peer"`
	Direction string  `json:"direction"`
	Kind      string  `json:"kind"`
	Drop      bool    `json:"drop"`
	Loss      float64 `json:"loss"`
	Delay     string  `json:"delay"`
	Dist      string  `json:"dist"`
}

// EncodeRules writes the JSON document {"rules":[…]}, every field of every rule spelt out.
func EncodeRules(rules []Rule) ([]byte, error) {
	doc := document{Rules: make([]ruleJSON, 0, len(rules))}
	for _, r := range rules {
		doc.Rules = append(doc.Rules, ruleJSON{
			Peer: r.Peer, Direction: r.Direction.String(), Kind: r.Kind.String(),
			Drop: r.Drop, Loss: r.Loss, Delay: r.Delay.String(), Dist: r.Dist.String(),
		})
	}
	return json.Marshal(doc)
}

// DecodeRules reads the document that EncodeRules writes. Of a rule only the peer must be given: by default it is for both directions and any kind, and does nothing.
// It is strict otherwise (an unknown field, an unknown word or anything after the document is an error), since a rule that is quietly ignored makes a test pass that should not.
func DecodeRules(b []byte) ([]Rule, error) {
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.DisallowUnknownFields()
	var doc document
	if err := decoder.Decode(&doc); err != nil {
		return nil, fmt.Errorf("fault: rules: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("fault: rules: more than one document")
	}
	if doc.Rules == nil {
		return nil, errors.New(`fault: rules: "rules" is missing`)
	}
	if len(doc.Rules) > MaxRules {
		return nil, fmt.Errorf("fault: %d rules: at most %d", len(doc.Rules), MaxRules)
	}
	rules := make([]Rule, len(doc.Rules))
	for i, raw := range doc.Rules {
		rule, err := raw.rule()
		if err != nil {
			return nil, fmt.Errorf("rule %d: %w", i, err)
		}
		rules[i] = rule
	}
	return rules, nil
}

func (raw ruleJSON) rule() (Rule, error) {
	r := Rule{Peer: raw.Peer, Drop: raw.Drop, Loss: raw.Loss}
	direction, err := valueOf("direction", directionNames, raw.Direction)
	if err != nil {
		return Rule{}, err
	}
	kind, err := valueOf("kind", kindNames, raw.Kind)
	if err != nil {
		return Rule{}, err
	}
	dist, err := valueOf("dist", distNames, raw.Dist)
	if err != nil {
		return Rule{}, err
	}
	r.Direction, r.Kind, r.Dist = Direction(direction), Kind(kind), Dist(dist)
	if raw.Delay != "" {
		if r.Delay, err = time.ParseDuration(raw.Delay); err != nil {
			return Rule{}, fmt.Errorf("fault: delay %.40q: want a duration such as 20ms", raw.Delay)
		}
	}
	return r, r.Validate()
}

// valueOf is the value with the given name; an empty name is the first one, which is the default.
func valueOf(field string, names []string, name string) (uint8, error) {
	if name == "" {
		return 0, nil
	}
	i := slices.Index(names, name)
	if i < 0 {
		return 0, fmt.Errorf("fault: %s %.40q: want one of %v", field, name, names)
	}
	return uint8(i), nil
}
