package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics measures requests in a registry of its own, which /metrics shows beside the node's.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(s *Server) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "baton_api_requests_total",
			Help: "Requests answered, by path, method and status; status 0 was cut off before an answer.",
		}, []string{"path", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "baton_api_request_seconds",
			Help:    "Time from a request's header to the end of its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"path"}),
	}
	m.registry.MustRegister(m.requests, m.seconds)
	for _, g := range []struct {
		name, help string
		value      func() float64
	}{
		{"baton_api_submits", "Transactions that are being waited for.", func() float64 { return float64(len(s.submits)) }},
		{"baton_api_reads", "Reads that are being served.", func() float64 { return float64(len(s.reads)) }},
		{"baton_api_streams", "Readers of the events stream.", func() float64 { return float64(len(s.streams)) }},
		{"baton_api_held_bytes", "Bytes of request bodies in memory.", func() float64 { return float64(s.held.held.Load()) }},
	} {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help}, g.value))
	}
	return m
}

// observe counts one request. Methods that nobody serves are counted as one, so that a client cannot make up labels.
func (m *metrics) observe(path, method string, status int, took time.Duration) {
	if m == nil {
		return
	}
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		method = "other"
	}
	m.requests.WithLabelValues(path, method, strconv.Itoa(status)).Inc()
	if path != pathEvents {
		m.seconds.WithLabelValues(path).Observe(took.Seconds())
	}
}
