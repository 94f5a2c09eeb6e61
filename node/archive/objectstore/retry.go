package objectstore

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"
)

const (
	// maxTries is how often a request is made that does not get through.
	maxTries = 7
	// firstPause is how long the first pause is, each other one twice as long as the one before: a minute in all.
	firstPause = time.Second
)

// pause waits, or returns what ended ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// try makes a request until it gets through or another try would not help.
func (b *Bucket) try(ctx context.Context, request func() error) error {
	wait := firstPause
	for n := 1; ; n++ {
		err := request()
		if err == nil || n == maxTries || !again(err) || ctx.Err() != nil {
			return err
		}
		b.log.Warn().Err(err).Int("try", n).Dur("pause", wait).Msg("the object store did not do it; once more")
		if err := b.pause(ctx, wait); err != nil {
			return err
		}
		wait *= 2
	}
}

// again says whether the same request may get through later.
func again(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, errAnswerTooLong) {
		return false
	}
	answer := minio.ErrorResponse{}
	if !errors.As(err, &answer) {
		return true // of the network
	}
	switch answer.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	}
	switch answer.Code {
	case "SlowDown", "RequestTimeout", "InternalError", "BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch":
		return true
	}
	return answer.StatusCode >= http.StatusInternalServerError && answer.StatusCode != http.StatusNotImplemented
}

// status is the HTTP status of what a store answered, 0 if err is something else.
func status(err error) int {
	answer := minio.ErrorResponse{}
	if errors.As(err, &answer) {
		return answer.StatusCode
	}
	return 0
}
