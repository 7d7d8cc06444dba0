package http

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics counts requests by route, method and status.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(registry *prometheus.Registry, s *Server) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "quorate_http_requests_total",
			Help: "Requests answered, by route, method and status.",
		}, []string{"route", "method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "quorate_http_request_duration_seconds",
			Help:    "Time from the request's header to the last byte handed to the kernel, by route and method.",
			Buckets: prometheus.ExponentialBuckets(0.000125, 2, 16), // 125 µs, about a local read, to 4 s, about the usual time-out
		}, []string{"route", "method"}),
	}
	inFlight := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "quorate_http_requests_in_flight",
		Help: "Requests at work, without probes and metrics.",
	}, func() float64 { return float64(s.requests.Load()) })
	bodies := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "quorate_http_body_bytes",
		Help: "Bytes of values in memory for requests at work.",
	}, func() float64 { return float64(s.bodies.used.Load()) })
	for _, c := range []prometheus.Collector{m.requests, m.seconds, inFlight, bodies} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// countedMethods are those that have counters; all others count as the last. A client cannot make new ones.
var countedMethods = [...]string{http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodHead, http.MethodPost, "other"}

func methodIndex(method string) int {
	for i, m := range countedMethods {
		if m == method {
			return i
		}
	}
	return len(countedMethods) - 1
}

// series are the metrics of one route and method. Looking a counter up by its labels costs more than counting, so each is looked up once.
type series struct {
	seconds prometheus.Observer
	codes   [600]atomic.Pointer[prometheus.Counter]
}

func (m *metrics) count(s *series, route, method string, status int, took time.Duration) {
	s.seconds.Observe(took.Seconds())
	if status < 0 || status >= len(s.codes) {
		status = http.StatusInternalServerError
	}
	counter := s.codes[status].Load()
	if counter == nil {
		c := m.requests.WithLabelValues(route, method, strconv.Itoa(status))
		counter = &c
		s.codes[status].Store(counter)
	}
	(*counter).Inc()
}

// counted counts the requests of one route.
func (s *Server) counted(route string, next http.Handler) http.Handler {
	var byMethod [len(countedMethods)]atomic.Pointer[series]
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := &recorder{ResponseWriter: w}
		i := methodIndex(r.Method)
		counts := byMethod[i].Load()
		if counts == nil {
			counts = &series{seconds: s.metrics.seconds.WithLabelValues(route, countedMethods[i])}
			byMethod[i].Store(counts) // two that meet here make equal ones
		}
		defer func() { s.metrics.count(counts, route, countedMethods[i], rec.code(), time.Since(start)) }()
		next.ServeHTTP(rec, r)
	})
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int // 0 while nothing is written
}

func (r *recorder) code() int {
	if r.status == 0 {
		return http.StatusOK
	}
	return r.status
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= http.StatusOK {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// exposition answers Prometheus.
func (s *Server) exposition() http.Handler {
	return promhttp.HandlerFor(s.node.Registry(), promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError, // one collector that fails must not hide the rest
		MaxRequestsInFlight: 4,
	})
}
