package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/quorum"
)

// settingsOf parses a serve command without running it, and applies environment and file.
func settingsOf(t *testing.T, args []string, env map[string]string) (*cobra.Command, error) {
	t.Helper()
	cmd := newServe()
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return cmd, applySettings(cmd.Flags(), func(name string) (string, bool) { v, ok := env[name]; return v, ok })
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "quorate.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagBeatsEnvironmentBeatsFile(t *testing.T) {
	path := writeConfig(t, "name: file\nzone: file\ndata: file\nmax-value: 1MiB\nw: all\njoin: [a:1, b:2]\nallow-faults: true\nweight: 2\n")
	cmd, err := settingsOf(t, []string{"--config", path, "--name", "flag", "--weight=1"},
		map[string]string{"QUORATE_NAME": "env", "QUORATE_ZONE": "env", "QUORATE_HTTP": ":1", "QUORATE_DATA": "", "QUORATE_WEIGHT": "3"})
	if err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]string{
		"name": "flag", "zone": "env", "data": "file", "http": ":1", "max-value": "1MiB", "w": "all", "r": "quorum", "join": "[a:1,b:2]",
		"allow-faults": "true", "weight": "1", // as the default is, yet given
	} {
		if got := cmd.Flags().Lookup(flag).Value.String(); got != want {
			t.Errorf("--%s is %q, want %q", flag, got, want)
		}
	}
}

func TestConfigFileFromEnvironment(t *testing.T) {
	path := writeConfig(t, "zone: file")
	cmd, err := settingsOf(t, nil, map[string]string{"QUORATE_CONFIG": path})
	if err != nil || cmd.Flags().Lookup("zone").Value.String() != "file" {
		t.Error(err)
	}
}

func TestEveryFlagHasItsVariable(t *testing.T) {
	for flag, value := range map[string]string{
		"name": "x", "data": "x", "http": "x", "gossip": "x", "rpc": "x", "advertise": "x", "join": "x:1,y:2", "cluster": "x", "zone": "x", "weight": "7",
		"partitions": "512", "max-value": "7", "max-handoffs": "3GiB", "n": "5", "w": "2", "r": "one", "allow-faults": "true",
	} {
		cmd, err := settingsOf(t, nil, map[string]string{"QUORATE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_")): value})
		if err != nil {
			t.Errorf("%s: %v", flag, err)
			continue
		}
		if got := strings.Trim(cmd.Flags().Lookup(flag).Value.String(), "[]"); got != value {
			t.Errorf("%s became %q", flag, got)
		}
	}
}

// TestBadSettings lists mistakes, and a word that the message must have.
func TestBadSettings(t *testing.T) {
	for _, r := range []struct{ file, env, word string }{
		{file: "colour: red", word: `line 1: unknown setting "colour"`},
		{file: "name: x\nnmae: y", word: "line 2"},
		{file: "config: x", word: "unknown setting"},
		{file: "n: three", word: "n: "},
		{file: "w: 0", word: "w: "},
		{file: "max-value: much", word: "max-value"},
		{file: "name:", word: "no value"},
		{file: "join: {a: b}", word: "plain value"},
		{file: "join: [[a]]", word: "plain values"},
		{file: "- a", word: "quorate.yaml"},
		{file: "name: [", word: "quorate.yaml"},
		{env: "three", word: "QUORATE_N"},
	} {
		args, env := []string{}, map[string]string{"QUORATE_N": r.env}
		if r.file != "" {
			args = []string{"--config", writeConfig(t, r.file)}
		}
		_, err := settingsOf(t, args, env)
		if err == nil || !strings.Contains(err.Error(), r.word) {
			t.Errorf("%q %q: %v, want %s", r.file, r.env, err, r.word)
		}
	}
	if _, err := settingsOf(t, []string{"--config", "/does/not/exist"}, nil); err == nil {
		t.Error("a missing file is no mistake")
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int{"8MiB": 8 << 20, "8 MiB": 8 << 20, "0": 0, "1000": 1000, "1000B": 1000, "1.5KiB": 1536, "2MB": 2_000_000, "1GiB": 1 << 30, "9GiB": 9 << 30} {
		got := -1
		if err := (sizeFlag{&got}).Set(text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.5", "8mb", "9000000GiB", "NaN", "Inf", "1e99", "0x10 B?"} {
		got := -1
		if err := (sizeFlag{&got}).Set(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}

func TestLevels(t *testing.T) {
	for text, want := range map[string]quorum.Level{"one": quorum.One, "majority": quorum.Quorum, "quorum": quorum.Quorum, "all": quorum.All, "3": 3} {
		var got quorum.Level
		if err := (levelFlag{&got}).Set(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	var got quorum.Level
	if err := (levelFlag{&got}).Set("most"); err == nil {
		t.Error("most is a level")
	}
}

func TestStrangeVariables(t *testing.T) {
	environ := []string{"QUORATE_NAME=n", "QUORATE_MAXVALUE=1", "quorate_w=2", "QUORATE_CONFIG=", "QUORATE_HELP=1", "QUORATE_EMPTY=", "PATH=/bin", "QUORATE_BOGUS=a=b"}
	want := "QUORATE_BOGUS QUORATE_HELP QUORATE_MAXVALUE quorate_w"
	if got := strings.Join(strangeVariables(newServe().Flags(), environ), " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
