package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	kvhttp "github.com/quorate/quorate/http"
	"github.com/quorate/quorate/node"
)

func newStatus() *cobra.Command {
	var c clientFlags
	asJSON := false
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the members of the cluster",
		Long: `Show the members of the cluster as one node sees them: who answers, what each owns,
how many versions each is known to lack, and since when; and how often its reads have repaired an
owner, or asked a second one for a value that was late.

While the ring changes (a member joins, leaves, is removed, is refilled, or has another zone or
weight), it shows how many of the reports of the new owners have come in, what the node that is
asked has fetched, and whom the change waits for.`,
		Example: "  quorate status --url http://127.0.0.1:8001",
		Args:    argCount(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			defer client.Close()
			view, err := client.Cluster(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return printLines(cmd.OutOrStdout(), []node.ClusterView{view})
			}
			return printStatus(cmd.OutOrStdout(), view)
		},
	}
	c.add(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the whole answer of the node")
	return cmd
}

func printStatus(out io.Writer, v node.ClusterView) error {
	settled := "settled"
	if !v.Layout.Settled {
		settled = "not settled"
	}
	fmt.Fprintf(out, "cluster %s seen by %s: %d partitions, layout %s %s\n\n", v.Cluster, v.Self, v.Partitions, orDash(v.Layout.Version), settled)
	printChange(out, v)
	if v.CatchUp.Remaining > 0 {
		fmt.Fprintf(out, "%s is catching up: %d versions to go, %.0f records/s\n\n", v.Self, v.CatchUp.Remaining, v.CatchUp.Rate)
	}
	if r := v.Repairs; r != (node.RepairsView{}) {
		fmt.Fprintf(out, "read repairs of %s: %d stale, %d absent, %d siblings, %d vector (%d from a minority); %d unneeded, %d failed, %d dropped\n\n",
			v.Self, r.Stale, r.Absent, r.Siblings, r.Vector, r.Minority, r.Unneeded, r.Failed, r.Dropped)
	}
	if h := v.Hedges; h != (node.HedgesView{}) {
		fmt.Fprintf(out, "late values of %s: %d asked for again, %d of them first, %d not, being too many\n\n", v.Self, h.Sent, h.Won, h.Suppressed)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tID\tZONE\tWEIGHT\tSTATUS\tLIVENESS\tPARTITIONS\tBEHIND\tHANDOFFS\tHTTP")
	for _, m := range v.Members {
		status := m.Status
		if m.Gaining {
			status += ", gaining"
		}
		const short = 8 // tells incarnations of one name apart
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%d\t%s\t%d\t%s\n", m.Name, m.ID[:min(short, len(m.ID))], orDash(m.Zone), m.Weight, status, m.Liveness,
			m.Partitions, lag(&m), m.Handoffs.Count, m.HTTP)
	}
	return w.Flush()
}

// lag is how many versions a member lacks, and since when.
func lag(m *node.MemberView) string {
	if m.Behind == 0 || m.Since.IsZero() {
		return strconv.Itoa(m.Behind)
	}
	return fmt.Sprintf("%d since %s", m.Behind, m.Since.UTC().Format("15:04:05Z"))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// printLines prints JSON documents, one a line.
func printLines[T any](w io.Writer, values []T) error {
	e := json.NewEncoder(w)
	for _, v := range values {
		if err := e.Encode(v); err != nil {
			return err
		}
	}
	return nil
}

func newRing() *cobra.Command {
	var c clientFlags
	n := 0
	cmd := &cobra.Command{
		Use:     "ring BUCKET/KEY",
		Short:   "Show where a key lives",
		Long:    "Show the nodes of a key in order of preference, and which of them answer.",
		Example: "  quorate ring shop/cart:17",
		Args:    argCount(1, 1, "BUCKET/KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			bucket, key, err := keyOf(args[0])
			if err != nil {
				return err
			}
			client, err := c.client()
			if err != nil {
				return err
			}
			defer client.Close()
			view, err := client.Ring(cmd.Context(), bucket, key, n)
			if err != nil {
				return err
			}
			cluster, err := client.Cluster(cmd.Context())
			if err != nil {
				return err
			}
			return printRing(cmd.OutOrStdout(), view, cluster)
		},
	}
	c.add(cmd.Flags())
	cmd.Flags().IntVar(&n, "n", 0, "replicas (default: the bucket's)")
	return cmd
}

func printRing(out io.Writer, v node.RingView, c node.ClusterView) error {
	liveness := make(map[string]string, len(c.Members))
	for _, m := range c.Members {
		liveness[m.Name] = m.Liveness
	}
	fmt.Fprintf(out, "partition %d, n=%d\n\n", v.Partition, v.N)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tROLE\tLIVENESS")
	for _, name := range v.Owners {
		fmt.Fprintf(w, "%s\towner\t%s\n", name, orDash(liveness[name]))
	}
	for _, name := range v.Fallbacks {
		fmt.Fprintf(w, "%s\tfallback\t%s\n", name, orDash(liveness[name]))
	}
	return w.Flush()
}

func newHealth() *cobra.Command {
	var c clientFlags
	cmd := &cobra.Command{
		Use:     "health",
		Short:   "Tell whether a node can serve",
		Long:    "Exit with 0 if the node can serve, and with 1 and the reason if not: for containers without curl.",
		Example: "  quorate health --url http://127.0.0.1:8080",
		Args:    argCount(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			defer client.Close()
			err = client.Ready(cmd.Context())
			var p *kvhttp.Problem
			if errors.As(err, &p) {
				return fmt.Errorf("not ready: %s", strings.TrimSuffix(p.Detail, "."))
			}
			return err
		},
	}
	c.add(cmd.Flags())
	return cmd
}
