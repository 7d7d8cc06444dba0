package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"
)

// envPrefix leads the environment variable of a flag: --max-value is QUORATE_MAX_VALUE.
const envPrefix = "QUORATE_"

func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// configFlag names the YAML file; it cannot stand in one.
const configFlag = "config"

// applySettings gives each flag that is not on the command line the value of its environment variable, or else of the YAML file that --config
// names. An empty variable counts as none, since container tools cannot leave one out. A mistake anywhere is the caller's.
func applySettings(flags *pflag.FlagSet, lookup func(string) (string, bool)) error {
	if !flags.Changed(configFlag) {
		if path, _ := lookup(envName(configFlag)); path != "" {
			if err := flags.Set(configFlag, path); err != nil {
				return usagef("%s: %w", envName(configFlag), err)
			}
		}
	}
	path, err := flags.GetString(configFlag)
	if err != nil {
		return err
	}
	file, err := readConfig(path, flags)
	if err != nil {
		return err
	}
	var wrong []error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == configFlag || f.Name == "help" {
			return
		}
		if value, _ := lookup(envName(f.Name)); value != "" {
			if err := flags.Set(f.Name, value); err != nil {
				wrong = append(wrong, usagef("%s: %w", envName(f.Name), err))
			}
		} else if value, ok := file[f.Name]; ok {
			if err := flags.Set(f.Name, value); err != nil {
				wrong = append(wrong, usagef("%s: %s: %w", path, f.Name, err))
			}
		}
	})
	return errors.Join(wrong...)
}

// strangeVariables returns the names in environ, sorted, that look like settings and are none. They are no mistake for sure: an orchestrator that
// has a service named quorate puts QUORATE_PORT and the like into every container.
func strangeVariables(flags *pflag.FlagSet, environ []string) []string {
	settings := map[string]bool{}
	flags.VisitAll(func(f *pflag.Flag) { settings[envName(f.Name)] = f.Name != "help" })
	var strange []string
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(strings.ToUpper(name), envPrefix) && value != "" && !settings[name] {
			strange = append(strange, name)
		}
	}
	slices.Sort(strange)
	return strange
}

// readConfig reads a YAML mapping from the names of flags to their values; a list stands for its elements joined by commas.
func readConfig(path string, flags *pflag.FlagSet) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, usagef("--config: %w", err)
	}
	var doc map[string]yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, usagef("%s: %w", path, err)
	}
	values := make(map[string]string, len(doc))
	var wrong []error
	for name, n := range doc {
		if flags.Lookup(name) == nil || name == configFlag || name == "help" {
			wrong = append(wrong, fmt.Errorf("line %d: unknown setting %q", n.Line, name))
			continue
		}
		if values[name], err = scalar(&n); err != nil {
			wrong = append(wrong, fmt.Errorf("line %d: %s: %w", n.Line, name, err))
		}
	}
	if len(wrong) > 0 {
		return nil, usagef("%s: %w", path, errors.Join(wrong...))
	}
	return values, nil
}

func scalar(n *yaml.Node) (string, error) {
	switch n.Kind {
	case yaml.AliasNode:
		return scalar(n.Alias)
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return "", errors.New("has no value")
		}
		return n.Value, nil
	case yaml.SequenceNode:
		parts := make([]string, len(n.Content))
		for i, c := range n.Content {
			if c.Kind != yaml.ScalarNode {
				return "", errors.New("want a list of plain values")
			}
			parts[i] = c.Value
		}
		return strings.Join(parts, ","), nil
	}
	return "", errors.New("want a plain value or a list of them")
}
