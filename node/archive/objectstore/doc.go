// Package objectstore is a bucket of an object store with the S3 API, as package archive wants one ([archive.Objects]).
//
// Nothing here is trusted: what comes from the store is verified by package archive, answers other than objects are bounded
// (and listings by package archive), redirects are not followed. TLS is used unless the endpoint says http://.
//
// An object appears whole or not at all: a short one by one request whose length and SHA-256 the store checks, a longer one
// as parts that are put together at the end. Parts of an upload that was killed stay invisible, and cost room until the
// bucket's own rule deletes them (AbortIncompleteMultipartUpload).
//
// A request that fails in the network, or that the store could not answer (5xx, 429), is repeated, a few times with longer
// and longer pauses; a connection on which nothing moves for a minute has failed. A read that breaks goes on where it
// stopped, as long as it is the same object.
//
// Credentials are read once, never logged and part of no error.
package objectstore
