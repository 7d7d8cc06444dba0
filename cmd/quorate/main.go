// Command quorate runs a node of a Quorate cluster, a whole cluster on one machine, and the requests of a client.
//
// Exit status: 0 done, 1 failed, 2 wrong usage. Results go to standard output, everything else to standard error.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		relaxTimers()
	}
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main without the process.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(errOut, "quorate: %v\nSee 'quorate --help'.\n", err)
		return exitUsage
	}
	fmt.Fprintf(errOut, "quorate: %v\n", err)
	return exitFailed
}

// usageError is a mistake in how the command was called.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "quorate",
		Short: "A leaderless key-value store",
		Long: `Quorate keeps each key on n of the nodes of a cluster, and lets every request
choose how many of them must answer. Any node takes any request.

To have a look:

  quorate dev                        a cluster of three on this machine
  quorate put shop/cart:17 'milk' --url http://127.0.0.1:8001
  quorate get shop/cart:17 --url http://127.0.0.1:8002`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.AddCommand(newServe(), newDev(), newGet(), newPut(), newDelete(), newStatus(), newRing(), newLeave(), newRemove(), newHealth(), newBench(), newVersion())
	root.AddCommand(plannedCommands()...)
	return root
}

// argCount takes from least to most arguments, and says in words what they are.
func argCount(least, most int, words string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return usagef("want %s, got %d arguments", words, len(args))
		}
		return nil
	}
}

// plannedCommands are those that a later version brings.
func plannedCommands() []*cobra.Command {
	planned := func(use, short string, args cobra.PositionalArgs) *cobra.Command {
		return &cobra.Command{
			Use:   use,
			Short: short + " (not implemented yet)",
			Long:  short + ".\n\nThis is planned and not implemented yet: the command fails.",
			Args:  args,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return fmt.Errorf("%s is not implemented yet", cmd.CommandPath())
			},
		}
	}
	none := argCount(0, 0, "no arguments")
	return []*cobra.Command{
		planned("staleness", "Tell what to expect of a read", none),
	}
}
