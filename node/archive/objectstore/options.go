package objectstore

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

const scheme = "s3://"

// IsURL says whether text is meant to be a bucket's URL, not a file.
func IsURL(text string) bool { return strings.HasPrefix(text, scheme) }

// Options say which store, and who asks.
type Options struct {
	// Endpoint is the store's URL, such as https://s3.example.com:9000. Without a scheme it is https. Empty is Amazon's for
	// the region.
	Endpoint string
	// Region is the bucket's; empty is us-east-1.
	Region string
	// AccessKey, SecretKey and SessionToken are credentials. Without AccessKey they are those of the standard AWS environment
	// variables, or of the shared credentials file.
	AccessKey, SecretKey, SessionToken string
	// CA are the authorities that may vouch for the store; nil is the system's.
	CA *x509.CertPool
}

const defaultRegion = "us-east-1"

var regionPattern = regexp.MustCompile(`^[a-zA-Z0-9-]{1,64}$`)

// host returns the endpoint without its scheme, and whether TLS is used.
func (o *Options) host() (string, bool, error) {
	if o.Endpoint == "" {
		if o.region() == defaultRegion {
			return "s3.amazonaws.com", true, nil
		}
		return "s3." + o.region() + ".amazonaws.com", true, nil
	}
	u, err := ParseEndpoint(o.Endpoint)
	if err != nil {
		return "", false, err
	}
	return u.Host, u.Scheme == "https", nil
}

func (o *Options) region() string {
	if o.Region == "" {
		return defaultRegion
	}
	return o.Region
}

// ParseEndpoint reads an endpoint: a URL of scheme https or http, or a host with or without a port, and nothing else.
func ParseEndpoint(text string) (*url.URL, error) {
	full := text
	if !strings.Contains(full, "://") {
		full = "https://" + full
	}
	u, err := url.Parse(full)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		// The text is not repeated: somebody may have put credentials there.
		return nil, errors.New("want a URL such as https://s3.example.com:9000, without user, path or query")
	}
	return u, nil
}

// CheckRegion refuses what cannot be a region.
func CheckRegion(text string) error {
	if text != "" && !regionPattern.MatchString(text) {
		return fmt.Errorf("%q: want letters, digits and dashes", text)
	}
	return nil
}

// ErrNoCredentials is returned when nothing says who asks.
var ErrNoCredentials = errors.New("no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or object_store.access_key and secret_key in the config")

// credentials finds out who asks.
func (o *Options) credentials() (*credentials.Credentials, error) {
	if o.AccessKey != "" {
		if o.SecretKey == "" {
			return nil, errors.New("an access key without its secret key")
		}
		return credentials.NewStaticV4(o.AccessKey, o.SecretKey, o.SessionToken), nil
	}
	found := credentials.NewChainCredentials([]credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}})
	v, err := found.GetWithContext(&credentials.CredContext{})
	if err != nil || v.AccessKeyID == "" || v.SecretAccessKey == "" {
		return nil, ErrNoCredentials
	}
	return found, nil
}

var (
	bucketPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	prefixPattern = regexp.MustCompile(`^[A-Za-z0-9!_.*'()/=+@:,~-]*$`)
)

const maxPrefixBytes = 512

// parseURL takes s3://BUCKET/PREFIX apart. The prefix ends with a slash, or is empty.
func parseURL(text string) (bucket, prefix string, err error) {
	rest, ok := strings.CutPrefix(text, scheme)
	bucket, prefix, _ = strings.Cut(rest, "/")
	prefix = strings.Trim(prefix, "/")
	if !ok || !bucketPattern.MatchString(bucket) || strings.Contains(bucket, "..") || len(prefix) > maxPrefixBytes ||
		!prefixPattern.MatchString(prefix) || strings.Contains(prefix, "//") {
		return "", "", fmt.Errorf("%.200q: want s3://BUCKET or s3://BUCKET/PREFIX", text)
	}
	for part := range strings.SplitSeq(prefix, "/") {
		if part == "." || part == ".." {
			return "", "", fmt.Errorf("%.200q: a prefix without . and .. in it", text)
		}
	}
	if prefix != "" {
		prefix += "/"
	}
	return bucket, prefix, nil
}
