package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/baton-ha/baton/node/archive/objectstore"
)

// Options are what the section says, with the files that it names read. The error never holds a secret.
func (c *Config) objectStore() (o objectstore.Options, err error) {
	s := &c.ObjectStore
	o = objectstore.Options{Endpoint: s.Endpoint, Region: s.Region, AccessKey: s.AccessKey}
	if path, ok := strings.CutPrefix(s.SecretKey, filePrefix); ok {
		data, err := c.secrets().read(c.Resolve(path))
		if err != nil {
			return o, fmt.Errorf("object_store.secret_key: %w", err)
		}
		first, _, _ := strings.Cut(string(data), "\n")
		if o.SecretKey = strings.TrimSpace(first); o.SecretKey == "" {
			return o, fmt.Errorf("object_store.secret_key: the first line of %s is empty", c.Resolve(path))
		}
	}
	if s.CAFile != "" {
		if o.CA, err = readCA(c.Resolve(s.CAFile)); err != nil {
			return o, fmt.Errorf("object_store.ca_file: %w", err)
		}
	}
	return o, nil
}

// ObjectStoreOptions are what the object_store section of c says (c may be nil), and for what is empty there the standard
// AWS environment that getenv tells, credentials apart, which package objectstore finds itself.
func ObjectStoreOptions(c *Config, getenv func(string) string) (o objectstore.Options, err error) {
	if c != nil {
		if o, err = c.objectStore(); err != nil {
			return o, err
		}
	}
	for _, name := range []string{"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"} {
		if o.Endpoint == "" {
			o.Endpoint = getenv(name)
		}
	}
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if o.Region == "" {
			o.Region = getenv(name)
		}
	}
	if path := getenv("AWS_CA_BUNDLE"); o.CA == nil && path != "" {
		if o.CA, err = readCA(path); err != nil {
			return o, fmt.Errorf("$AWS_CA_BUNDLE: %w", err)
		}
	}
	return o, nil
}

func readCA(path string) (*x509.CertPool, error) {
	data, err := readBounded(path, maxCertBytes)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, errors.New(path + " has no certificate")
	}
	return pool, nil
}
