package quorum

import (
	"encoding/json"
	"errors"
	"testing"
)

func TestLevelText(t *testing.T) {
	for _, test := range []struct {
		text  string
		level Level
		json  string
	}{{"one", One, `"one"`}, {"quorum", Quorum, `"quorum"`}, {"all", All, `"all"`}, {"1", 1, `1`}, {"16", 16, `16`}} {
		level, err := ParseLevel(test.text)
		if err != nil || level != test.level || level.String() != test.text {
			t.Errorf("%q: got %v, %v", test.text, level, err)
		}
		written, err := json.Marshal(level)
		if err != nil || string(written) != test.json {
			t.Errorf("%q: JSON %s, %v", test.text, written, err)
		}
		var read Level
		if err := json.Unmarshal(written, &read); err != nil || read != level {
			t.Errorf("%s: read as %v, %v", written, read, err)
		}
	}
	var fromString Level
	if err := json.Unmarshal([]byte(`"3"`), &fromString); err != nil || fromString != 3 {
		t.Errorf("a number in a string: %v, %v", fromString, err)
	}
	for _, bad := range []string{"", "0", "-1", "+1", "01", "1.0", "17", "256", "One", "majority", " 1", "99999999999999999999"} {
		if level, err := ParseLevel(bad); err == nil {
			t.Errorf("%q is taken for %v", bad, level)
		}
	}
	for _, bad := range []string{`0`, `1.5`, `null`, `true`, `"none"`, `[1]`, `{}`, `-1`} {
		var level Level
		if err := json.Unmarshal([]byte(bad), &level); err == nil {
			t.Errorf("%s is taken for %v", bad, level)
		}
	}
	if _, err := json.Marshal(Level(0)); err == nil {
		t.Error("the level that was not given has a JSON form")
	}
}

func TestResolve(t *testing.T) {
	for _, test := range []struct {
		level  Level
		owners int
		want   int
	}{
		{One, 0, 1}, {One, 3, 1},
		{Quorum, 0, 1}, {Quorum, 1, 1}, {Quorum, 2, 2}, {Quorum, 3, 2}, {Quorum, 4, 3}, {Quorum, 5, 3}, {Quorum, 16, 9},
		{All, 0, 1}, {All, 1, 1}, {All, 3, 3},
		{2, 1, 2}, {2, 3, 2},
	} {
		if got := test.level.Resolve(test.owners); got != test.want {
			t.Errorf("%v of %d owners: %d, want %d", test.level, test.owners, got, test.want)
		}
	}
}

func TestParamsValidate(t *testing.T) {
	for _, test := range []struct {
		params Params
		wrong  string // "" if nothing is
	}{
		{Params{N: 3, W: Quorum, R: Quorum}, ""},
		{Params{N: 1, W: One, R: All}, ""},
		{Params{N: 16, W: 16, R: 16}, ""},
		{Params{N: 0, W: One, R: One}, "n"},
		{Params{N: 17, W: One, R: One}, "n"},
		{Params{N: 3, W: 0, R: One}, "w"},
		{Params{N: 3, W: 4, R: One}, "w"},
		{Params{N: 3, W: One, R: 4}, "r"},
		{Params{N: 3, W: One, R: -4}, "r"},
	} {
		err := test.params.Validate()
		var wrong *ParamError
		switch {
		case test.wrong == "":
			if err != nil {
				t.Errorf("%v: %v", test.params, err)
			}
		case !errors.As(err, &wrong) || wrong.Param != test.wrong:
			t.Errorf("%v: %v, want an error about %s", test.params, err, test.wrong)
		}
	}
}
