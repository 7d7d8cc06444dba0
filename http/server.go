package http

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/quorate/quorate/coordinator"
	"github.com/quorate/quorate/fault"
	"github.com/quorate/quorate/node"
)

// Keys runs the requests of keys, or refuses them: it knows what their parameters mean for their bucket, and whether the node can serve. It may
// block for the time-out of the request; errors are *coordinator.Error.
type Keys interface {
	Get(ctx context.Context, req coordinator.GetRequest) (coordinator.GetResult, error)
	Put(ctx context.Context, req coordinator.PutRequest) (coordinator.PutResult, error)
}

// Buckets holds the properties of buckets. Names are valid. Only SetBucket and DeleteBucket block.
type Buckets interface {
	Buckets() []node.NamedBucket
	Bucket(name string) (properties node.Properties, configured bool)
	// SetBucket fails with node.ErrBadProperty, wrapped, for properties that cannot be; both with node.ErrTooManyBuckets.
	SetBucket(ctx context.Context, name string, properties node.Properties) (node.Properties, error)
	DeleteBucket(ctx context.Context, name string) error
	// Defaults are the properties of a bucket that is not configured.
	Defaults() node.Properties
}

// Cluster describes what the node knows of its cluster. Nothing here blocks.
type Cluster interface {
	Cluster() node.ClusterView
	// Ring fails only while the node has no layout; n = 0 is the n of the bucket.
	Ring(bucket, key string, n int) (node.RingView, error)
}

// Ring changes who owns. What is asked for is on this node's disk when they return, and goes on by itself then. Errors are node's.
type Ring interface {
	// Leave begins this node's leaving; while it is leaving it does nothing. node.ErrLastMember, node.ErrJoining.
	Leave(ctx context.Context) error
	// Remove takes a member out of the ring that has stopped for good. node.ErrUnknownMember; node.ErrMemberAlive without force.
	Remove(ctx context.Context, name string, force bool) error
}

// Host is the node as a process. Nothing here blocks.
type Host interface {
	Name() string
	Ready() (ok bool, reason string)
	Faults() *fault.Matrix // nil when faults are not allowed
	Registry() *prometheus.Registry
	MaxValue() int
}

// Node is all that the server needs of a node.
type Node interface {
	Keys
	Buckets
	Cluster
	Ring
	Host
}

// Time-outs of a connection. Headers are small and come at once; the whole must outlast a request's own time-out of up to 60 s, because
// net/http takes a deadline that passes for a client that has gone.
const (
	headerTime = 10 * time.Second
	wholeTime  = headerTime + node.MaxTimeout + 5*time.Second
	idleTime   = 2 * time.Minute
	maxHeader  = 64 << 10
)

// Config bounds a server.
type Config struct {
	MaxConnections int   // beyond it, a connection is answered 503 and closed
	MaxRequests    int   // at work at once, without probes and metrics; beyond it 503
	MaxBodies      int64 // bytes of request bodies and of values being sent, together; beyond it 503
	MaxWriting     int64 // bytes of large values being written; further ones wait for their turn, at most for their time-out: then 503
}

// DefaultConfig returns the numbers that the product runs with.
func DefaultConfig() Config {
	return Config{
		MaxConnections: 8192,      // of about 24 KiB each: 200 MB
		MaxRequests:    4096,      // at 10,000 requests a second, 0.4 s of work: more would only wait
		MaxBodies:      256 << 20, // 32 of the largest values, or any number of usual ones
		// A value that is being written exists four times over: as it came, in the store's batch, and queued to each of two replicas.
		// Four of the largest at once keep a disk busy.
		MaxWriting: 32 << 20,
	}
}

// Validate reports a bound that would refuse everything.
func (c Config) Validate() error {
	if c.MaxConnections < 1 || c.MaxRequests < 1 || c.MaxBodies < 1 || c.MaxWriting < 1 {
		return fmt.Errorf("http: bounds must be positive: %+v", c)
	}
	return nil
}

// Server serves the client API of one node.
type Server struct {
	cfg      Config
	node     Node
	log      *slog.Logger
	metrics  *metrics
	bodies   budget
	writing  *semaphore.Weighted // bytes of large values
	requests atomic.Int64        // at work, of those that are limited
	draining atomic.Bool
	keys     http.Handler // requests of keys
	router   *chi.Mux     // all others
	server   *http.Server
	url      string
	done     chan struct{} // closed when the server accepts no more; nil before Open
}

// NewServer returns a server of n. It registers its metrics in the node's registry, so a node has one server.
func NewServer(cfg Config, n Node, log *slog.Logger) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, node: n, log: log, bodies: budget{limit: cfg.MaxBodies}, writing: semaphore.NewWeighted(cfg.MaxWriting)}
	var err error
	if s.metrics, err = newMetrics(n.Registry(), s); err != nil {
		return nil, fmt.Errorf("http: register metrics: %w", err)
	}
	s.route()
	s.server = &http.Server{
		Handler:                      s,
		ReadHeaderTimeout:            headerTime,
		ReadTimeout:                  wholeTime,
		WriteTimeout:                 wholeTime,
		IdleTimeout:                  idleTime,
		MaxHeaderBytes:               maxHeader,
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelDebug), // what clients do wrong
		DisableGeneralOptionsHandler: true,
		ConnState:                    noteState,
	}
	return s, nil
}

// Open serves the listener in the background, which from now on is the server's.
func (s *Server) Open(l net.Listener) {
	s.url = "http://" + l.Addr().String()
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		if err := s.server.Serve(newConns(l, s.cfg.MaxConnections)); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("the client API stopped accepting", "err", err)
		}
	}()
}

// URL is the base of all addresses of this server, without a slash at the end.
func (s *Server) URL() string { return s.url }

// Drain refuses new requests with 503 draining, and lets go of connections as they fall idle. Requests at work go on.
func (s *Server) Drain() {
	s.draining.Store(true)
	s.server.SetKeepAlivesEnabled(false)
}

// Close drains, refuses new connections, waits for requests at work until ctx ends, and then cuts what is left.
func (s *Server) Close(ctx context.Context) error {
	s.Drain()
	if s.done == nil {
		return nil
	}
	err := s.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("http: requests were cut off: %w", err), s.server.Close())
	}
	<-s.done
	return err
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if isKeyPath(r) {
		s.keys.ServeHTTP(w, r)
		return
	}
	s.router.ServeHTTP(w, r)
}
