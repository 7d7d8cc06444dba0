package node

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/quorate/quorate/quorum"
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
	stoodIn   = desc("writes_coordinated_as_fallback_total", "writes that this node coordinated because no owner of their key could")
	standIns  = desc("stand_ins_asked_total", "fallbacks that this node's requests asked in the place of owners")
	rewritten = desc("writes_rewritten_total", "versions made again because a replica held a higher stamp or n")
	retried   = desc("layout_retries_total", "requests sent again under a newer view of the ring")
	fetches   = desc("value_fetches_total", "reads that fetched a value in a second round trip")
	stale     = desc("stale_replies_total", "read replies that lacked something")
	missed    = desc("writes_missed_total", "replicas that did not confirm a write")
	behind    = desc("member_behind_versions", "versions that this node knows a member to lack", "member")
	behindFor = desc("member_behind_seconds", "how long it has lacked some; 0 if it lacks none", "member")

	ringLive    = desc("ring_live_layouts", "layouts that writes need acknowledgements in; 1 while nothing changes")
	ringSettled = desc("ring_settled", "1 while no change of the ring is under way")
	ringReports = desc("ring_reports", "reports of owners that they have all of a partition, that the newest layout has; 0 when settled")
	ringNeeded  = desc("ring_reports_needed", "and those that it needs; 0 when settled")

	ringRecords = desc("ring_fetched_records", "records that this node has fetched since the change began, or it was started")
	ringBytes   = desc("ring_fetched_bytes", "and the bytes of the pages that they came in")
	ringFormer  = desc("ring_former_partitions", "partitions of which this node holds something that others own now: it is dropped when they have it")
	ringDropped = desc("ring_dropped_partitions_total", "partitions of which it has dropped that")

	repairs        = desc("read_repairs_total", "owners that a read found to lack something, by why and by what became of the repair", "cause", "outcome")
	repairMinority = desc("read_repairs_minority_total", "of the repairs that succeeded, those with a version that fewer than half of the replies held")
	repairWaiting  = desc("read_repairs_waiting", "repairs that wait for their turn")

	hedges = desc("hedges_total", "values that were late, by whether another replica was asked, and how often that one was first", "event")

	exchangeRounds  = desc("exchanges_total", "rounds of log exchange that this node began, by outcome", "outcome")
	exchangeRecords = desc("exchange_records_total", "records of log exchange, by direction", "direction")
	exchangeBytes   = desc("exchange_fetched_bytes_total", "bytes of the pages fetched")
	exchangeClocks  = desc("exchange_clocks_adopted_total", "clocks of partitions adopted")
	exchangeLeft    = desc("exchange_remaining_versions", "versions that this node is known to lack")
	exchangeRate    = desc("exchange_records_per_second", "how fast it fetches them, over the last seconds")
	exchangeOpen    = desc("exchange_sessions", "exchanges of others that this node is answering")

	handOffs          = desc("handoffs", "keys that this node keeps for owners that it stood in for")
	handOffBytes      = desc("handoff_bytes", "what they take")
	handOffLimit      = desc("handoff_limit_bytes", "what they may take (--max-handoffs)")
	handOffsRefused   = desc("handoffs_refused_total", "hand-offs not taken, by why: the bound was reached (space), or an owner could not take what was kept for it (owner)", "why")
	handOffsDelivered = desc("handoffs_delivered_total", "hand-offs that an owner confirmed")
	handOffsReceived  = desc("handoffs_received_total", "hand-offs of others that this node took")
	handOffsMoved     = desc("handoffs_readdressed_total", "hand-offs kept for an owner that lost its place, and now for those that have it")
	handOffErrands    = desc("handoff_errands_failed_total", "deliveries to an owner that did not come to their end, and are tried again")
	handOffBytesSent  = desc("handoff_delivered_bytes_total", "bytes of the messages that they went in")

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
	c.ring(counter, gauge)
	c.requests(counter, gauge)
	c.exchange(counter, gauge)
	c.handOffs(counter, gauge)
	c.storage(counter, gauge)
	c.transport(counter, gauge)
}

type emit func(d *prometheus.Desc, v float64, labels ...string)

// lag is how far a member is behind, and for how long.
type lag struct {
	versions float64
	time     time.Duration
}

func (c collector) members(gauge emit) {
	ok, _ := c.n.Ready()
	gauge(ready, map[bool]float64{true: 1}[ok])
	v := c.n.member.View()
	downs := 0
	lags := make(map[string]lag) // by name: while a node's place goes to a namesake there are two
	for id, p := range v.Peers {
		if p.Down && id != v.Self {
			downs++
		}
		own := lag{}
		lacks, since := c.n.behind(id)
		if own.versions = float64(lacks); !since.IsZero() {
			own.time = time.Since(since)
		}
		lags[p.Name] = lag{max(own.versions, lags[p.Name].versions), max(own.time, lags[p.Name].time)}
	}
	for name, l := range lags {
		gauge(behind, l.versions, name)
		gauge(behindFor, l.time.Seconds(), name)
	}
	gauge(down, float64(downs))
	skew, _ := c.n.member.Skewed()
	gauge(clockOff, skew.Seconds())
}

func (c collector) ring(counter, gauge emit) {
	l := c.n.layoutView(c.n.member.View())
	gauge(ringLive, float64(l.Live))
	gauge(ringSettled, map[bool]float64{true: 1}[l.Settled])
	p := ProgressView{}
	if l.Progress != nil {
		p = *l.Progress
	}
	gauge(ringReports, float64(p.Done))
	gauge(ringNeeded, float64(p.Of))
	moved := c.n.logs.Progress()
	gauge(ringRecords, float64(moved.Records))
	gauge(ringBytes, float64(moved.Bytes))
	gauge(ringFormer, float64(moved.Former))
	counter(ringDropped, float64(c.n.logs.Stats.Dropped.Load()))
}

func (c collector) requests(counter, gauge emit) {
	s := &c.n.coord.Stats
	counter(forwarded, float64(s.Forwarded.Load()))
	counter(stoodIn, float64(s.StoodIn.Load()))
	counter(standIns, float64(s.StandIns.Load()))
	counter(rewritten, float64(s.Rewritten.Load()))
	counter(retried, float64(s.LayoutRetries.Load()))
	counter(fetches, float64(s.Fetches.Load()))
	counter(stale, float64(s.StaleReplies.Load()))
	counter(missed, float64(s.MissedWrites.Load()))
	s.Repairs.Each(func(cause quorum.Cause, outcome string, count int64) {
		counter(repairs, float64(count), cause.String(), outcome)
	})
	counter(repairMinority, float64(s.Repairs.Minority()))
	gauge(repairWaiting, float64(c.n.repair.Waiting()))
	counter(hedges, float64(s.Hedges.Load()), "sent")
	counter(hedges, float64(s.HedgesWon.Load()), "won")
	counter(hedges, float64(s.HedgesSuppressed.Load()), "suppressed")
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

func (c collector) handOffs(counter, gauge emit) {
	h := c.n.store.HandOffs()
	gauge(handOffs, float64(h.Count))
	gauge(handOffBytes, float64(h.Bytes))
	gauge(handOffLimit, float64(h.Limit))
	counter(handOffsRefused, float64(h.Refused), "space")
	s := &c.n.owing.Stats
	counter(handOffsRefused, float64(s.Refused.Load()), "owner")
	counter(handOffsDelivered, float64(s.Delivered.Load()))
	counter(handOffsReceived, float64(s.Received.Load()))
	counter(handOffsMoved, float64(s.Readdressed.Load()))
	counter(handOffErrands, float64(s.Failed.Load()))
	counter(handOffBytesSent, float64(s.Bytes.Load()))
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
