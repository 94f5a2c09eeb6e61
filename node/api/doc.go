// Package api serves the HTTP API of a node and, on a unix socket in the data folder, its admin calls. It turns requests
// into calls of a [Backend] and what the backend answers into JSON; it knows nothing of elections, stores or execution.
// The shapes of the JSON are in node/api/wire.
//
// # Promise
//
//   - POST /v1/transactions answers 200 only when [Backend.Submit] returned a receipt, which it does only for a final
//     transaction. 503 and 429 mean that the transaction was certainly never proposed. Whatever the backend cannot tell
//     (its own deadline of [Config.SubmitTimeout], an error that it did not classify) is 504 unknown_outcome: the client
//     sends the same bytes again, to any node, and gets the one answer that they have.
//   - Every answer that is not a success is {"error":{"code","message"}}, unknown paths, unknown methods and panics
//     included.
//   - Only final blocks are served, because [Backend.Final] knows no others.
//   - What a client may cost is bounded: connections, requests of each kind at a time, bytes of bodies held in memory,
//     the time for headers, for a body and for reading an answer. Over a bound a request is answered 429 with
//     Retry-After, or its connection waits to be accepted, or is cut. The health endpoints take no slot: they answer on
//     an overloaded node too. [Config.RateLimit] bounds what one client address may ask, those endpoints apart.
//
// # Requests
//
// A transaction's request is read strictly: UTF-8, one JSON object with exactly "payload" and "signature", nothing twice,
// nothing behind it. The payload is passed on byte for byte as it was signed; its own meaning, and its signature, are
// judged behind the backend.
//
// # State and proofs
//
// GET /v1/state/{key} reads one entry of the state. {key} is the key's bytes in hex; node/chain lists them: an account's
// is 612f ("a/") followed by its public key. GET /v1/accounts/{pubkey} reads and decodes the same entry. With ?proof=1
// both answers carry a "proof" that stands alone: the nodes on the key's way, the header of the block after which the
// state was so, and the signature of that header's hash. It proves that the key had that value, or had none.
//
// # Events
//
// GET /v1/events is a stream of server-sent events. Block events carry their height as the event's id and form an
// unbroken sequence: a reader that comes back, to this node or another, with Last-Event-ID (or ?from=H) is sent what it
// missed from the chain first, and where the backend's own stream of events has a hole, the chain fills it. The other
// events tell of the moment and are not repeated. A comment keeps an idle stream open. A reader that does not keep up is
// cut, by the backend that closes its subscription or by the time a write may take; it resumes where it was.
//
// A reader of ?cluster=1 is also sent, several times a second, how all members are; a slow one gets only the newest. HEAD
// is answered and ends. A reader that resumes at blocks which are not kept any more is answered 404.
//
// # The page and what it is made of
//
// With [Config.Page] the page of node/api/page is served at /. GET /v1/cluster is all members as this node sees them, GET
// /v1/leaders who led when, GET /v1/recent the newest blocks and transactions in short, however large they are.
//
// # Admin socket
//
// data_dir/admin.sock has mode 0600 from the instant it exists, so that the file system decides who may administer; there
// is no admin call over the network. A socket's path may have 107 bytes at most, a data folder's may be longer: both
// sides open the folder and go through /proc/self/fd. A socket that a dead process left behind is removed; one that
// answers is not. The data folder's own lock is what keeps two live nodes apart. Profiles of the process are served here
// and nowhere else.
//
// # Concurrency
//
// Handlers run in parallel and call the backend in parallel. [Server.Shutdown] ends the streams, lets requests finish
// until its context ends, then cuts what is left.
package api
