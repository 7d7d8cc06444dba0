package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print which build this is",
		Args:  argCount(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), buildLine())
			return err
		},
	}
}

// buildLine tells which build this is.
func buildLine() string {
	build, _ := debug.ReadBuildInfo()
	return describe(build)
}

// describe is one line: version, commit if it was built from one, and Go's version. A nil build has none of them.
func describe(build *debug.BuildInfo) string {
	if build == nil {
		return "quorate (unknown build)"
	}
	setting := map[string]string{}
	for _, s := range build.Settings {
		setting[s.Key] = s.Value
	}
	line := "quorate " + build.Main.Version
	if commit := setting["vcs.revision"]; commit != "" {
		line += " commit " + commit
		if setting["vcs.modified"] == "true" {
			line += " with changes"
		}
		if at := setting["vcs.time"]; at != "" {
			line += " of " + at
		}
	}
	return line + " " + build.GoVersion
}
