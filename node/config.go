package node

import (
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/quorate/quorate/quorum"
	"github.com/quorate/quorate/ring"
	"github.com/quorate/quorate/store"
)

// Config is one node's configuration; each field up to AllowFaults is the flag of serve with the same name.
type Config struct {
	Name       string
	Data       string
	HTTP       string // listen address of the client API; the node only tells others of it
	Gossip     string
	RPC        string
	Advertise  string
	Join       []string
	Cluster    string
	Zone       string
	Weight     uint32
	Partitions int
	MaxValue   int
	N          int
	W, R       quorum.Level

	AllowFaults bool

	Logger *slog.Logger
	Store  store.Options // Dir, Partitions and Logger are set by the node
	World  World         // the zero value in production
}

// DefaultConfig returns the defaults of serve. Name is left to the caller.
func DefaultConfig() Config {
	return Config{
		Data:       "./quorate-data",
		HTTP:       "127.0.0.1:8080",
		Gossip:     "127.0.0.1:7946", // memberlist's own port, so that firewalls know it
		RPC:        "127.0.0.1:7947",
		Cluster:    "quorate",
		Weight:     1,
		Partitions: ring.DefaultPartitions,
		MaxValue:   8 << 20, // larger values hold up the small ones behind them on a connection
		N:          3,
		W:          quorum.Quorum,
		R:          quorum.Quorum,
		Logger:     slog.Default(),
		Store:      store.DefaultOptions(),
	}
}

// MaxMaxValue bounds --max-value: a record of two such values still fits one message between nodes.
const MaxMaxValue = 30 << 20

// Validate names the first setting that cannot work.
func (c *Config) Validate() error {
	if err := ring.CheckName(c.Name); err != nil {
		return fmt.Errorf("--name: %w", err)
	}
	if err := ring.CheckName(c.Cluster); err != nil {
		return fmt.Errorf("--cluster: %w", err)
	}
	if err := ring.CheckPartitions(c.Partitions); err != nil {
		return fmt.Errorf("--partitions: %w", err)
	}
	if c.Weight < 1 || c.Weight > ring.MaxWeight {
		return fmt.Errorf("--weight: %d: want 1 to %d", c.Weight, ring.MaxWeight)
	}
	if c.MaxValue < 1 || c.MaxValue > MaxMaxValue {
		return fmt.Errorf("--max-value: %d: want 1 to %d bytes", c.MaxValue, MaxMaxValue)
	}
	if err := (quorum.Params{N: c.N, W: c.W, R: c.R}).Validate(); err != nil {
		return fmt.Errorf("--n, --w, --r: %w", err)
	}
	for _, a := range []struct{ flag, addr string }{{"http", c.HTTP}, {"gossip", c.Gossip}, {"rpc", c.RPC}} {
		if _, _, err := net.SplitHostPort(a.addr); err != nil {
			return fmt.Errorf("--%s: %q: want host:port", a.flag, a.addr)
		}
	}
	for _, addr := range c.Join {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return fmt.Errorf("--join: %q: want host:port", addr)
		}
	}
	_, err := parseAdvertise(c.Advertise)
	return err
}

// advertised is --advertise taken apart: what stands for the host and the ports that were bound.
type advertised struct {
	host              string
	http, gossip, rpc string // whole addresses, where given
}

// parseAdvertise reads "host", or a comma-separated list of "http=host:port", "gossip=host:port", "rpc=host:port" and
// at most one plain host for the others.
func parseAdvertise(s string) (advertised, error) {
	var a advertised
	if s == "" {
		return a, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		label, addr, labelled := strings.Cut(part, "=")
		if !labelled {
			host, port, err := net.SplitHostPort(part)
			switch {
			case err != nil:
				a.host = strings.Trim(part, "[]")
			case port != "":
				// One bare host:port is where clients come in; the other two keep their ports.
				a.host, a.http = host, part
			}
			continue
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return a, fmt.Errorf("--advertise: %q: want host:port after %s=", part, label)
		}
		switch label {
		case "http":
			a.http = addr
		case "gossip":
			a.gossip = addr
		case "rpc":
			a.rpc = addr
		default:
			return a, fmt.Errorf("--advertise: %q: want http=, gossip= or rpc=", part)
		}
	}
	return a, nil
}

// resolve is the address that others use for what is bound to addr.
func (a advertised) resolve(given, bound string) (string, error) {
	if given != "" {
		return given, nil
	}
	host, port, err := net.SplitHostPort(bound)
	if err != nil {
		return "", fmt.Errorf("address %q: %w", bound, err)
	}
	if a.host != "" {
		return net.JoinHostPort(a.host, port), nil
	}
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		return bound, nil
	}
	own, err := ownAddress()
	if err != nil {
		return "", fmt.Errorf("listening on every address (%s) and %w: name one with --advertise", bound, err)
	}
	return net.JoinHostPort(own, port), nil
}

// ownAddress picks this machine's first address that is not loopback.
func ownAddress() (string, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	v6 := ""
	for _, a := range addrs {
		ipnet, ok := a.(*net.IPNet)
		if !ok || !ipnet.IP.IsGlobalUnicast() {
			continue
		}
		if ipnet.IP.To4() != nil {
			return ipnet.IP.String(), nil
		}
		if v6 == "" {
			v6 = ipnet.IP.String()
		}
	}
	if v6 == "" {
		return "", fmt.Errorf("no address of this machine found")
	}
	return v6, nil
}
