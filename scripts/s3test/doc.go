// Package s3test shares a chain by a real object store: versitygw, a server with the S3 API that keeps objects in a folder,
// in a process of its own, over TLS. Its tests run the baton program (`baton block export` and `import` with s3:// URLs)
// against it, kill exporters and the server, and damage what is stored. It is a module of its own, so that nothing of the
// server becomes a dependency of baton.
package s3test
