// Package transport carries requests and their responses between the nodes of one cluster.
//
// An Endpoint is one node's end of it. It accepts connections, runs a Handler for each request that arrives, and calls other nodes by their
// incarnation (ring.ID), which an address book (SetPeers) maps to a name and an address. Many calls share few connections: a caller appends
// its frame to the connection's outbox, one goroutine writes whatever has gathered there, and a response finds its call by number. Who calls
// dials: requests go out on the connections that a node has opened, responses come back on the same ones.
//
// The package is not a retry layer, knows nothing of replicas and quorums, and never looks into a body. It decides nothing about membership: it
// reports (Health) how the calls to a peer went, and the layers above draw the conclusions.
//
// New makes an endpoint on TCP, Network.New one on connections in memory: the same code but for the two functions that dial and listen, so what
// a simulation or a synctest bubble exercises is what runs in production.
//
// # Life of a connection
//
//	dialer                                   acceptor
//	   | hello: cluster, own ID, wanted ID      |
//	   |--------------------------------------->|  another cluster, another node wanted, no common version: verdict, close
//	   |    welcome: verdict, cluster, own ID   |
//	   |<---------------------------------------|
//	   | request(1) request(2) ping ...         |
//	   |--------------------------------------->|
//	   |           response(2) pong response(1) |
//	   |<---------------------------------------|
//
// A peer is dialled at the first call to it, and from then on kept connected, with growing pauses while that fails. Calls wait for the first
// dial, and for a redial after a connection was lost; while the latest dial has failed they fail at once.
//
// # Invariants
//
//  1. The done function of a call runs exactly once, and never before Go has returned.
//  2. Response.Sent is false only if no byte of the request was, or ever will be, handed to the network.
//  3. A response reaches only the call that it answers: numbers are never reused on a connection, and a connection joins two incarnations that
//     have named each other.
//  4. Bytes queued, calls pending, handlers running, bodies held, messages delayed and connections accepted are bounded (Config). At a bound the
//     caller gets ErrOverloaded or StatusOverloaded at once; nothing waits for room.
//  5. Whatever bytes a peer sends, the worst that follows is the end of that connection.
//  6. When a connection breaks, or its peer has fallen silent (three pings unanswered), every call pending on it fails there and then.
//  7. Every message crosses the fault matrices of both sides by the other's name: requests and responses as their class says, the handshake and
//     pings as traffic of no particular kind.
//  8. A request's deadline is the same moment for the caller and for the handler, later there by the way of the hello at most: a request that lay in
//     buffers while one of the processes was stopped comes to its handler with its time up. (While a whole machine sleeps its clocks may stand still.)
//  9. After Close has returned, no goroutine of the endpoint is left and no handler is running. What the fault matrix holds back then is forgotten.
package transport
