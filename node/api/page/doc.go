// Package page holds the page for people that every node serves at / of its API port: who leads under which lease, how far
// each member is, the newest blocks and transactions, a search, and who led when. The page is three kinds of file (HTML,
// CSS, JavaScript modules) that are written by hand and embedded as they are: there is no framework, nothing is built and
// nothing is loaded from anywhere else.
//
// # Where its data comes from
//
// From the API of the node that served it alone, which tells of the whole cluster: GET /v1/events?cluster=1 (blocks, leaders,
// refused transactions, members, and several times a second how every member is), GET /v1/leaders (the timeline), GET
// /v1/recent (what the lists begin with), and for the search /v1/blocks, /v1/transactions and /v1/accounts. When the
// connection is lost the page says so, tries again, and names the other nodes' pages.
//
// # Safety
//
// What comes from the chain is written by strangers. The page puts it into the document only as text ([textContent]), and
// its headers forbid everything else: no script, style, image or connection but from the node itself, no inline script or
// style, no HTML made from strings (Trusted Types with no policy), no frame around it, no referrer. A page sends nothing
// but reads; it holds no key and there is nothing to log in to.
//
// # Caching
//
// Each file has an ETag of its contents and is asked for again each time (no-cache): after an upgrade no old script meets a
// new document.
//
// scripts/page-test runs it in a real browser against real nodes.
//
// [textContent]: https://developer.mozilla.org/docs/Web/API/Node/textContent
package page
