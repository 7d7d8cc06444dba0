// Package http is the client API of a node: its routes, the one table of problems, and the Go client beside the server.
//
// The package translates and bounds. What a request means is decided in the packages below: a handler reads the request into the types of
// coordinator or node, calls, and writes the answer down. It keeps no state but counters. Import it as kvhttp; inside it, http is net/http.
//
// # A request
//
//	conns      a connection over the bound is told so and closed            (conns.go)
//	metrics    counts the request, its status and its time                  (metrics.go)
//	recovered  a panic is logged and answered, and the process lives on     (recover.go)
//	limited    too many requests at once, or draining: 503                  (limits.go)
//	problems   what a handler returns as an error becomes a document        (problem.go)
//	handler    decode, call, encode                                         (keys.go, read.go, write.go, buckets.go, cluster.go, ...)
//
// Requests of keys (/kv/{bucket}/{key}) are told apart by their prefix before the router sees them. A key is data: it may hold "..", "//",
// an encoded slash or a zero byte, and a router has opinions about each. It also saves four allocations and about a microsecond a request.
//
// What net/http refuses by itself (a malformed request line or percent-encoding, a header that is too large) reaches no handler; its plain text is
// exchanged for a problem document on the way out (refusals.go).
//
// # Bounds
//
// A header is at most 64 KiB and has 10 s to arrive; the whole of a small request has 75 s. A body that is not small has 10 s for each 128 KiB,
// in either direction, so a client of less than 13 kB/s loses its connection. Connections, requests at work and the bytes of all bodies in
// memory are bounded by Config; at each bound the client gets 503 overloaded.
//
// # Invariants
//
//  1. The key that reaches the store is what follows /kv/{bucket}/ in the request line, percent-decoded once. Nothing else touches it.
//  2. A write is handed down only with a body that is complete: as long as was announced, or with its last chunk.
//  3. Every refusal is a problem document of the table in problem.go; on a failed write of a key it says not_written or indeterminate, and
//     not_written only if nothing was handed down or the coordinator says that nothing was written.
//  4. A parameter, header or property that is not understood is refused, never ignored. Exceptions: headers that are not ours.
//  5. A client that is slow, silent or sends too much costs at most its share of the bounds above.
//  6. No input makes a handler panic; if a defect does, the process serves on.
package http
