package s3test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"

	"github.com/baton-ha/baton/node/archive/objectstore"
)

const (
	accessKey = "exporter"
	secretKey = "a secret of the object store"
	bucket    = "chains"

	// What this program is when it starts itself.
	serverEnv = "S3TEST_SERVER"
	putterEnv = "S3TEST_PUT"
)

func TestMain(m *testing.M) {
	var err error
	switch {
	case os.Getenv(serverEnv) != "":
		err = serve(os.Getenv(serverEnv))
	case os.Getenv(putterEnv) != "":
		err = putSlowly(os.Getenv(putterEnv))
	default:
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// serve is the object store, on the address that is in the folder.
func serve(dir string) error {
	addr, err := os.ReadFile(filepath.Join(dir, "addr"))
	if err != nil {
		return err
	}
	attributes, err := meta.NewSideCar(filepath.Join(dir, "attributes"))
	if err != nil {
		return err
	}
	be, err := posix.New(filepath.Join(dir, "objects"), attributes, posix.PosixOpts{
		SideCarDir: filepath.Join(dir, "attributes"), Concurrency: 16, NewDirPerm: 0o755,
	})
	if err != nil {
		return err
	}
	return embedgw.RunVersityGW(context.Background(), be, &embedgw.Config{
		RootUserAccess: accessKey, RootUserSecret: secretKey, Region: "us-east-1", Ports: []string{string(addr)},
		CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem"), HealthPath: "/health",
		MaxConnections: 1000, MaxRequests: 1000, MultipartMaxParts: 10_000, KeepAlive: true, Quiet: true,
	})
}

// putSlowly stores an object of which the last bytes never come.
func putSlowly(endpoint string) error {
	o := objectstore.Options{Endpoint: endpoint}
	ca, err := os.ReadFile(os.Getenv("AWS_CA_BUNDLE"))
	if err != nil {
		return err
	}
	o.CA = x509.NewCertPool()
	o.CA.AppendCertsFromPEM(ca)
	b, err := objectstore.Open("s3://"+bucket+"/cut", o, zerolog.Nop())
	if err != nil {
		return err
	}
	first := io.LimitReader(rand.Reader, 40<<20)
	_, err = b.Put(context.Background(), "x", io.MultiReader(first, sayAndWait{}))
	return err
}

// sayAndWait is a reader whose bytes never come.
type sayAndWait struct{}

func (sayAndWait) Read([]byte) (int, error) {
	fmt.Println("the rest does not come")
	select {}
}

// server is a running object store.
type server struct {
	dir, endpoint, ca string
	cmd               *exec.Cmd
	client            *http.Client
}

// startServer starts an object store with an empty bucket.
func startServer(t *testing.T) *server {
	t.Helper()
	s := &server{dir: t.TempDir()}
	for _, dir := range []string{"objects/" + bucket, "attributes"} {
		must(t, os.MkdirAll(filepath.Join(s.dir, dir), 0o755))
	}
	s.ca = filepath.Join(s.dir, "cert.pem")
	pool := certificate(t, s.ca, filepath.Join(s.dir, "key.pem"))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr := l.Addr().String()
	must(t, l.Close())
	must(t, os.WriteFile(filepath.Join(s.dir, "addr"), []byte(addr), 0o600))
	s.endpoint = "https://" + addr
	s.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
	s.start(t)
	t.Cleanup(func() { s.kill(t) })
	return s
}

func (s *server) start(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	s.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), self)
	s.cmd.Env = append(os.Environ(), serverEnv+"="+s.dir)
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	must(t, err)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	must(t, s.cmd.Start())
	must(t, log.Close())
	until(t, "the object store answers", func() bool {
		resp, err := s.client.Get(s.endpoint + "/health") //nolint:noctx // a test's
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	}, func() string { log, _ := os.ReadFile(filepath.Join(s.dir, "log")); return string(log) })
}

func (s *server) kill(t *testing.T) {
	t.Helper()
	if s.cmd == nil {
		return
	}
	must(t, s.cmd.Process.Kill())
	_ = s.cmd.Wait()
	s.cmd = nil
}

// env is the standard environment of whoever uses the store.
func (s *server) env() []string {
	return append(os.Environ(), "AWS_ENDPOINT_URL_S3="+s.endpoint, "AWS_CA_BUNDLE="+s.ca, "AWS_ACCESS_KEY_ID="+accessKey,
		"AWS_SECRET_ACCESS_KEY="+secretKey, "AWS_REGION=us-east-1")
}

// objects are the files of the bucket's objects whose names contain some text.
func (s *server) objects(t *testing.T, text string) (out []string) {
	t.Helper()
	must(t, filepath.WalkDir(filepath.Join(s.dir, "objects", bucket), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".baton") && strings.Contains(path, text) {
			out = append(out, path)
		}
		return err
	}))
	return out
}

func certificate(t *testing.T, certFile, keyFile string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "object store"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	must(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool
}

// pool is the authorities of a file.
func pool(t *testing.T, file string) *x509.CertPool {
	t.Helper()
	data, err := os.ReadFile(file)
	must(t, err)
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(data) {
		t.Fatal("no certificate in", file)
	}
	return p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// until waits for something that a process does.
func until(t *testing.T, what string, done func() bool, why func() string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(time.Minute)
	for !done() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited for: %s\n%s", what, why())
		}
	}
}
