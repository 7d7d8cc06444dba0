package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	kvhttp "github.com/quorate/quorate/http"
)

// clientFlags are the flags of all commands that talk to a node.
type clientFlags struct{ url string }

func (c *clientFlags) add(f *pflag.FlagSet) {
	f.StringVar(&c.url, "url", "http://127.0.0.1:8080", "address of any node")
}

func (c *clientFlags) client() (*kvhttp.Client, error) {
	client, err := kvhttp.NewClient(c.url)
	if err != nil {
		return nil, usagef("--url: %w", err)
	}
	return client, nil
}

// keyFlags are the flags of a key request.
type keyFlags struct {
	clientFlags
	options kvhttp.KeyOptions
	verbose bool
}

func (k *keyFlags) add(f *pflag.FlagSet) {
	f.SortFlags = false
	k.clientFlags.add(f)
	f.IntVar(&k.options.N, "n", 0, "replicas (default: the bucket's)")
	f.Var(levelFlag{&k.options.W}, "w", "acknowledgements to wait for (default: the bucket's)")
	f.Var(levelFlag{&k.options.R}, "r", "replies to wait for (default: the bucket's)")
	f.Var(switchFlag{&k.options.Sloppy}, "sloppy", "let other nodes stand in for owners that are away (default: the bucket's)")
	f.Lookup("sloppy").NoOptDefVal = "true"
	f.StringVar(&k.options.Context, "context", "", "context of an earlier answer: what has been seen")
	f.DurationVar(&k.options.Timeout, "timeout", 0, "time for the cluster to answer, at most 60s (default 5s)")
	f.BoolVarP(&k.verbose, "verbose", "v", false, "tell on standard error who answered, and the context")
}

// switchFlag is a flag that may be on, off, or not given.
type switchFlag struct{ to **bool }

// Set implements pflag.Value.
func (s switchFlag) Set(text string) error {
	on, err := strconv.ParseBool(text)
	if err != nil {
		return fmt.Errorf("want true or false")
	}
	*s.to = &on
	return nil
}

// String implements pflag.Value.
func (s switchFlag) String() string {
	if s.to == nil || *s.to == nil {
		return ""
	}
	return strconv.FormatBool(**s.to)
}

// Type implements pflag.Value.
func (s switchFlag) Type() string { return "bool" }

// keyOf takes BUCKET/KEY apart. The key may hold more slashes.
func keyOf(arg string) (bucket, key string, err error) {
	bucket, key, ok := strings.Cut(arg, "/")
	if !ok || bucket == "" || key == "" {
		return "", "", usagef("%q is not BUCKET/KEY", arg)
	}
	return bucket, key, nil
}

// run finds the key and the client, does the request, and tells about it.
func (k *keyFlags) run(cmd *cobra.Command, arg string, do func(c *kvhttp.Client, bucket, key string) (kvhttp.Answer, error)) error {
	bucket, key, err := keyOf(arg)
	if err != nil {
		return err
	}
	client, err := k.client()
	if err != nil {
		return err
	}
	defer client.Close()
	k.options.Detail = k.verbose
	a, err := do(client, bucket, key)
	if k.verbose {
		tell(cmd.ErrOrStderr(), a)
	}
	return explain(err)
}

func tell(w io.Writer, a kvhttp.Answer) {
	for _, line := range [][2]string{{"quorum", a.Quorum}, {"coordinator", a.Coordinator}, {"replicas", a.Replicas}, {"content-type", a.ContentType},
		{"etag", a.ETag}, {"context", a.Context}} {
		if line[1] != "" {
			fmt.Fprintf(w, "%s: %s\n", line[0], line[1])
		}
	}
	if !a.LastModified.IsZero() {
		fmt.Fprintf(w, "last-modified: %s\n", a.LastModified.Format(time.RFC3339))
	}
	if a.Deleted {
		fmt.Fprintln(w, "deleted: true")
	}
}

// explain adds to a problem what each replica did, if that is known.
func explain(err error) error {
	var p *kvhttp.Problem
	if !errors.As(err, &p) || len(p.Replicas) == 0 {
		return err
	}
	var s strings.Builder
	for _, r := range p.Replicas {
		fmt.Fprintf(&s, "\n  %s: %s", r.Name, r.Outcome)
		if r.StandsFor != "" {
			fmt.Fprintf(&s, " in place of %s", r.StandsFor)
		}
		if r.Detail != "" {
			fmt.Fprintf(&s, " (%s)", r.Detail)
		}
		if r.Millis > 0 {
			fmt.Fprintf(&s, " after %.1f ms", r.Millis)
		}
	}
	return fmt.Errorf("%w%s", err, s.String())
}

// writeError says what is known of a write that got no answer. A problem says it itself.
func writeError(err error) error {
	var p *kvhttp.Problem
	var op *net.OpError
	switch {
	case err == nil || errors.As(err, &p):
		return err
	case errors.As(err, &op) && op.Op == "dial":
		return fmt.Errorf("%w (not_written)", err)
	}
	return fmt.Errorf("%w (indeterminate: it may be seen later)", err)
}

func newGet() *cobra.Command {
	var k keyFlags
	cmd := &cobra.Command{
		Use:   "get BUCKET/KEY",
		Short: "Print the value of a key",
		Long: `Print the value of a key, as it is, on standard output.

A key without a value fails. So does one with several concurrent values: they are
printed as JSON objects, one a line, and a put with their context (see --verbose)
settles them.`,
		Example: `  quorate get shop/cart:17
  quorate get shop/cart:17 --r all -v`,
		Args: argCount(1, 1, "BUCKET/KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.run(cmd, args[0], func(c *kvhttp.Client, bucket, key string) (kvhttp.Answer, error) {
				a, err := c.Get(cmd.Context(), bucket, key, k.options)
				if err != nil {
					return a, err
				}
				return a, printValue(cmd.OutOrStdout(), a)
			})
		},
	}
	k.add(cmd.Flags())
	cmd.Flags().BoolVar(&k.options.Local, "local", false, "read the node's own store and nothing else")
	return cmd
}

func printValue(w io.Writer, a kvhttp.Answer) error {
	if len(a.Siblings) == 0 {
		_, err := w.Write(a.Value)
		return err
	}
	if err := printLines(w, a.Siblings); err != nil {
		return err
	}
	return fmt.Errorf("the key has %d concurrent values", len(a.Siblings))
}

func newPut() *cobra.Command {
	var k keyFlags
	contentType := ""
	cmd := &cobra.Command{
		Use:   "put BUCKET/KEY [VALUE|-]",
		Short: "Store a value",
		Long:  "Store a value under a key. Without VALUE, or with -, it is read from standard input.",
		Example: `  quorate put shop/cart:17 'milk, bread'
  quorate put shop/photo.jpg - --content-type image/jpeg <photo.jpg
  quorate put shop/cart:17 'milk' --context AQEB...`,
		Args: argCount(1, 2, "BUCKET/KEY and at most one VALUE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			value := cmd.InOrStdin()
			if len(args) == 2 && args[1] != "-" {
				value = strings.NewReader(args[1])
			}
			if f, ok := value.(*os.File); ok {
				value = onlyReader{f} // or net/http would close our standard input
			}
			return k.run(cmd, args[0], func(c *kvhttp.Client, bucket, key string) (kvhttp.Answer, error) {
				a, err := c.Put(cmd.Context(), bucket, key, value, contentType, k.options)
				return a, writeError(err)
			})
		},
	}
	k.add(cmd.Flags())
	cmd.Flags().StringVar(&contentType, "content-type", "", "type of the value")
	return cmd
}

type onlyReader struct{ io.Reader }

func newDelete() *cobra.Command {
	var k keyFlags
	cmd := &cobra.Command{
		Use:     "delete BUCKET/KEY",
		Short:   "Delete a key",
		Long:    "Delete a key. Deleting one that has no value is no error.",
		Example: "  quorate delete shop/cart:17",
		Args:    argCount(1, 1, "BUCKET/KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.run(cmd, args[0], func(c *kvhttp.Client, bucket, key string) (kvhttp.Answer, error) {
				a, err := c.Delete(cmd.Context(), bucket, key, k.options)
				return a, writeError(err)
			})
		},
	}
	k.add(cmd.Flags())
	return cmd
}
