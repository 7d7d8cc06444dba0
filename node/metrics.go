package node

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// registerMetrics publishes what the parts count. Each scrape takes one snapshot of each part.
func (n *Node) registerMetrics() {
	n.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collector{n})
}

// collector turns the parts' own counters into metrics.
type collector struct{ n *Node }

var (
	descs []*prometheus.Desc

	ready    = desc("ready", "1 while the node may answer key requests")
	down     = desc("peers_down", "members that this node holds for down")
	clockOff = desc("clock_offset_refusing_seconds", "how far this node's clock is from most peers', while that makes it refuse writes without a context; else 0")

	forwarded = desc("writes_forwarded_total", "writes sent on to an owner of their key")
	rewritten = desc("writes_rewritten_total", "versions made again because a replica held a higher stamp or n")
	layouts   = desc("layout_retries_total", "requests sent again after member tables were merged")
	fetches   = desc("value_fetches_total", "reads that fetched a value in a second round trip")
	stale     = desc("stale_replies_total", "read replies that lacked something")
	missed    = desc("writes_missed_total", "replicas that did not confirm a write")
	behind    = desc("member_behind_versions", "versions that this node knows a member to lack", "member")

	repairSent    = desc("read_repairs_total", "records sent to stale owners, by outcome", "outcome")
	repairWaiting = desc("read_repairs_waiting", "records waiting to be sent to stale owners")

	exchangeRounds  = desc("exchanges_total", "rounds of log exchange that this node began, by outcome", "outcome")
	exchangeRecords = desc("exchange_records_total", "records of log exchange, by direction", "direction")
	exchangeBytes   = desc("exchange_fetched_bytes_total", "bytes of the pages fetched")
	exchangeClocks  = desc("exchange_clocks_adopted_total", "clocks of partitions adopted")
	exchangeLeft    = desc("exchange_remaining_versions", "versions that this node is known to lack")
	exchangeRate    = desc("exchange_records_per_second", "how fast it fetches them, over the last seconds")
	exchangeOpen    = desc("exchange_sessions", "exchanges of others that this node is answering")

	storeCommits = desc("store_commits_total", "batches written")
	storeBytes   = desc("store_written_bytes_total", "bytes of keys and records in them")
	storePending = desc("store_pending_keys", "keys with a write that is not on disk yet")
	storeCache   = desc("store_record_cache_total", "look-ups in the record cache, by result", "result")
	storeErrors  = desc("store_errors_total", "faults of the disk, by kind", "kind")
	storeStalls  = desc("store_write_stalls_total", "times writers waited for flushes or compactions")
	storeFree    = desc("store_free_bytes", "free space at the last probe")
	storeUsed    = desc("store_used_bytes", "space that the store takes, log included")
	storeAmp     = desc("store_read_amplification", "tables that a read may have to look into")

	rpcCalls   = desc("rpc_calls_total", "calls to other nodes, by outcome", "outcome")
	rpcServed  = desc("rpc_requests_total", "requests of other nodes, by outcome", "outcome")
	rpcBytes   = desc("rpc_bytes_total", "bytes between nodes", "direction")
	rpcRunning = desc("rpc_requests_running", "requests of other nodes at work")
	rpcFaults  = desc("rpc_faults_total", "messages that injected faults dropped or delayed", "effect")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	d := prometheus.NewDesc("quorate_"+name, help, labels, nil)
	descs = append(descs, d)
	return d
}

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	c.members(gauge)
	c.requests(counter, gauge)
	c.exchange(counter, gauge)
	c.storage(counter, gauge)
	c.transport(counter, gauge)
}

type emit func(d *prometheus.Desc, v float64, labels ...string)

func (c collector) members(gauge emit) {
	ok, _ := c.n.Ready()
	gauge(ready, map[bool]float64{true: 1}[ok])
	v := c.n.member.View()
	downs := 0
	for id, p := range v.Peers {
		if p.Down && id != v.Self {
			downs++
		}
		lacks, _ := c.n.behind(id)
		gauge(behind, float64(lacks), p.Name)
	}
	gauge(down, float64(downs))
	skew, _ := c.n.member.Skewed()
	gauge(clockOff, skew.Seconds())
}

func (c collector) requests(counter, gauge emit) {
	s := &c.n.coord.Stats
	counter(forwarded, float64(s.Forwarded.Load()))
	counter(rewritten, float64(s.Rewritten.Load()))
	counter(layouts, float64(s.LayoutRetries.Load()))
	counter(fetches, float64(s.Fetches.Load()))
	counter(stale, float64(s.StaleReplies.Load()))
	counter(missed, float64(s.MissedWrites.Load()))
	q := &c.n.repair.Stats
	counter(repairSent, float64(q.Sent.Load()), "ok")
	counter(repairSent, float64(q.Failed.Load()), "failed")
	counter(repairSent, float64(q.Dropped.Load()), "dropped")
	gauge(repairWaiting, float64(c.n.repair.Waiting()))
}

func (c collector) exchange(counter, gauge emit) {
	s := &c.n.logs.Stats
	counter(exchangeRounds, float64(s.Compared.Load()), "equal")
	counter(exchangeRounds, float64(s.Caught.Load()), "caught-up")
	counter(exchangeRounds, float64(s.Failed.Load()), "failed")
	counter(exchangeRecords, float64(s.Records.Load()), "in")
	counter(exchangeRecords, float64(s.Served.Load()), "out")
	counter(exchangeBytes, float64(s.Bytes.Load()))
	counter(exchangeClocks, float64(s.Adopted.Load()))
	p := c.n.logs.Progress()
	gauge(exchangeLeft, float64(p.Remaining))
	gauge(exchangeRate, p.Rate)
	gauge(exchangeOpen, float64(c.n.logs.Open()))
}

func (c collector) storage(counter, gauge emit) {
	s := c.n.store.Stats()
	counter(storeCommits, float64(s.Commits))
	counter(storeBytes, float64(s.Written))
	gauge(storePending, float64(s.Pending))
	counter(storeCache, float64(s.CacheHits), "hit")
	counter(storeCache, float64(s.CacheMisses), "miss")
	counter(storeErrors, float64(s.Corrupt), "corrupt")
	counter(storeErrors, float64(s.Failures), "reopened")
	counter(storeErrors, float64(s.BackgroundErrors), "background")
	counter(storeStalls, float64(s.Stalls))
	gauge(storeFree, float64(s.FreeBytes))
	gauge(storeUsed, float64(s.DiskBytes))
	gauge(storeAmp, float64(s.ReadAmp))
}

func (c collector) transport(counter, gauge emit) {
	s := c.n.rpc.Stats()
	counter(rpcCalls, float64(s.Responses), "answered")
	counter(rpcCalls, float64(s.Timeouts), "timeout")
	counter(rpcCalls, float64(s.Lost), "lost")
	counter(rpcCalls, float64(s.Unreachable), "unreachable")
	counter(rpcCalls, float64(s.Overloaded), "overloaded")
	counter(rpcServed, float64(s.Requests), "taken")
	counter(rpcServed, float64(s.RequestsRefused), "refused")
	counter(rpcServed, float64(s.UnknownRequests), "unknown")
	counter(rpcBytes, float64(s.BytesIn), "in")
	counter(rpcBytes, float64(s.BytesOut), "out")
	gauge(rpcRunning, float64(s.Running))
	counter(rpcFaults, float64(s.FaultDrops), "dropped")
	counter(rpcFaults, float64(s.FaultDelays), "delayed")
}
