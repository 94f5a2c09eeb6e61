package objectstore

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // the S3 API has it beside SHA-256
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/node/archive"
)

const (
	// partBytes is how long a part is, of at most maxParts.
	partBytes = 16 << 20
	maxParts  = 10_000
)

// Bucket is the part of a bucket below a prefix. It is safe for concurrent use.
type Bucket struct {
	api            *minio.Core
	bucket, prefix string
	log            zerolog.Logger
	partBytes      int
	pause          func(context.Context, time.Duration) error
}

var _ archive.Objects = (*Bucket)(nil)

// Open returns the bucket of s3://BUCKET/PREFIX. It asks the store nothing. The log gets what is tried again.
func Open(url string, o Options, log zerolog.Logger) (*Bucket, error) {
	return open(url, o, log, idle)
}

func open(url string, o Options, log zerolog.Logger, idle time.Duration) (*Bucket, error) {
	bucket, prefix, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	host, secure, err := o.host()
	if err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	if err := CheckRegion(o.Region); err != nil {
		return nil, fmt.Errorf("region: %w", err)
	}
	who, err := o.credentials()
	if err != nil {
		return nil, err
	}
	api, err := minio.NewCore(host, &minio.Options{
		Creds: who, Secure: secure, Region: o.region(), Transport: newTransport(o.CA, idle), MaxRetries: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("object store %s: %w", host, err)
	}
	return &Bucket{api: api, bucket: bucket, prefix: prefix, log: log, partBytes: partBytes, pause: pause}, nil
}

// List implements [archive.Objects].
func (b *Bucket) List(ctx context.Context, prefix string, each func(name string) error) error {
	after, refused := "", error(nil)
	err := b.try(ctx, func() error {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		for o := range b.api.Client.ListObjects(ctx, b.bucket, minio.ListObjectsOptions{
			Prefix: b.prefix + prefix, Recursive: true, StartAfter: after,
		}) {
			if o.Err != nil {
				return o.Err
			}
			if o.Key <= after {
				continue
			}
			after = o.Key
			if name, ok := strings.CutPrefix(o.Key, b.prefix); ok {
				if refused = each(name); refused != nil {
					return nil
				}
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return fmt.Errorf("list s3://%s/%s: %w", b.bucket, b.prefix, err)
	}
	return refused
}

// sums are what a store checks what it gets against.
type sums struct{ md5, sha256 string }

func sumsOf(data []byte) sums {
	m, s := md5.Sum(data), sha256.Sum256(data) //nolint:gosec // see the import
	return sums{base64.StdEncoding.EncodeToString(m[:]), hex.EncodeToString(s[:])}
}

// Put implements [archive.Objects]. It holds one part in memory.
func (b *Bucket) Put(ctx context.Context, name string, r io.Reader) (int64, error) {
	key := b.prefix + name
	buf := make([]byte, b.partBytes)
	n, last, err := fill(r, buf)
	if err != nil {
		return 0, err
	}
	if last {
		return int64(n), b.try(ctx, func() error { return b.putWhole(ctx, key, buf[:n]) })
	}
	return b.putParts(ctx, key, r, buf)
}

// fill reads as much as fits, and says whether it was all. Any error of r but io.EOF is one.
func fill(r io.Reader, buf []byte) (n int, last bool, err error) {
	for n < len(buf) {
		m, err := r.Read(buf[n:])
		n += m
		if err == io.EOF { // not one that wraps it
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}

func (b *Bucket) putWhole(ctx context.Context, key string, data []byte) error {
	sum := sumsOf(data)
	_, err := b.api.PutObject(ctx, b.bucket, key, bytes.NewReader(data), int64(len(data)), sum.md5, sum.sha256,
		minio.PutObjectOptions{DisableContentSha256: true})
	return err
}

// putParts stores an object of several parts, the first of which is in buf.
func (b *Bucket) putParts(ctx context.Context, key string, r io.Reader, buf []byte) (size int64, err error) {
	var id string
	if err := b.try(ctx, func() (err error) {
		id, err = b.api.NewMultipartUpload(ctx, b.bucket, key, minio.PutObjectOptions{})
		return err
	}); err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			abort, stop := context.WithTimeout(context.WithoutCancel(ctx), dialTime)
			defer stop()
			if err := b.api.AbortMultipartUpload(abort, b.bucket, key, id); err != nil {
				b.log.Warn().Err(err).Str("object", key).Msg("parts of an upload that was called off stay in the bucket, invisible")
			}
		}
	}()
	var parts []minio.CompletePart
	n, last := len(buf), false
	for n > 0 {
		if len(parts) == maxParts {
			return 0, fmt.Errorf("it is longer than %d parts of %d bytes", maxParts, b.partBytes)
		}
		data, number, sum := buf[:n], len(parts)+1, sumsOf(buf[:n])
		var part minio.ObjectPart
		if err := b.try(ctx, func() (err error) {
			part, err = b.api.PutObjectPart(ctx, b.bucket, key, id, number, bytes.NewReader(data), int64(n),
				minio.PutObjectPartOptions{Md5Base64: sum.md5, Sha256Hex: sum.sha256, DisableContentSha256: true})
			return err
		}); err != nil {
			return 0, err
		}
		parts = append(parts, minio.CompletePart{PartNumber: number, ETag: part.ETag})
		if size += int64(n); last {
			break
		}
		if n, last, err = fill(r, buf); err != nil {
			return 0, err
		}
	}
	return size, b.complete(ctx, key, id, parts, size)
}

// complete makes the object of its parts. When the answer was lost and the store says that there is no such upload, it was
// done if the object is there with that length.
func (b *Bucket) complete(ctx context.Context, key, id string, parts []minio.CompletePart, size int64) error {
	tries := 0
	err := b.try(ctx, func() error {
		tries++
		_, err := b.api.CompleteMultipartUpload(ctx, b.bucket, key, id, parts, minio.PutObjectOptions{})
		return err
	})
	if tries > 1 && status(err) == http.StatusNotFound {
		var o minio.ObjectInfo
		if gone := b.try(ctx, func() (err error) {
			o, err = b.api.StatObject(ctx, b.bucket, key, minio.StatObjectOptions{})
			return err
		}); gone == nil && o.Size == size {
			return nil
		}
	}
	return err
}
