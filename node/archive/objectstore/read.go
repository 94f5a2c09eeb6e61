package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/minio/minio-go/v7"

	"github.com/baton-ha/baton/node/archive"
)

// Open implements [archive.Objects].
func (b *Bucket) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	o := &object{bucket: b, ctx: ctx, key: b.prefix + name}
	if err := b.try(ctx, o.open); err != nil {
		if status(err) == http.StatusNotFound {
			err = archive.ErrChanged // it was listed
		}
		return nil, fmt.Errorf("read %s: %w", o.key, err)
	}
	return o, nil
}

// object is read from its beginning to its end, over as many connections as it takes.
type object struct {
	bucket *Bucket
	ctx    context.Context //nolint:containedctx // of one reader
	key    string
	etag   string
	size   int64 // as its first answer said
	at     int64
	body   io.ReadCloser // nil after a failure
}

// open asks for what was not read yet, of the same object.
func (o *object) open() error {
	opts := minio.GetObjectOptions{}
	if o.etag != "" {
		if err := errors.Join(opts.SetMatchETag(o.etag), opts.SetRange(o.at, 0)); err != nil {
			return err
		}
	}
	body, info, header, err := o.bucket.api.GetObject(o.ctx, o.bucket.bucket, o.key, opts)
	if err != nil {
		return err
	}
	switch {
	case o.etag == "" && info.ETag != "" && header.Get("Content-Length") != "":
		o.etag, o.size = info.ETag, info.Size
	case o.etag != "" && info.ETag == o.etag && header.Get("Content-Range") == fmt.Sprintf("bytes %d-%d/%d", o.at, o.size-1, o.size):
	default:
		return errors.Join(archive.ErrChanged, body.Close())
	}
	o.body = body
	return nil
}

// Read implements io.Reader. It tries again while the store sends anything.
func (o *object) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n := 0
	err := o.bucket.try(o.ctx, func() error {
		if o.at == o.size {
			return nil
		}
		if o.body == nil {
			if err := o.open(); err != nil {
				return err
			}
		}
		var err error
		n, err = o.body.Read(p[:min(int64(len(p)), o.size-o.at)])
		if o.at += int64(n); n > 0 || o.at == o.size {
			return nil // what else there is shows at the next call
		}
		if err == nil {
			return nil
		}
		err = errors.Join(fmt.Errorf("it broke off after %d of %d bytes: %s", o.at, o.size, err), o.body.Close()) //nolint:errorlint // an end here is none
		o.body = nil
		return err
	})
	switch {
	case err == nil && o.at == o.size && n == 0:
		return 0, io.EOF
	case err == nil:
		return n, nil
	case errors.Is(err, archive.ErrChanged), status(err) == http.StatusNotFound, status(err) == http.StatusPreconditionFailed:
		err = archive.ErrChanged
	}
	return 0, fmt.Errorf("read %s: %w", o.key, err)
}

// Close implements io.Closer.
func (o *object) Close() error {
	if o.body == nil {
		return nil
	}
	return o.body.Close()
}
