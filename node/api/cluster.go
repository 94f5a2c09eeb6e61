package api

import (
	"net/http"

	"github.com/baton-ha/baton/node/api/wire"
)

// getCluster answers GET /v1/cluster.
func (s *Server) getCluster(w http.ResponseWriter, _ *http.Request) error {
	c := s.backend.Cluster()
	if c.Members == nil {
		c.Members = []wire.ClusterMember{}
	}
	s.router.writeJSON(w, http.StatusOK, c)
	return nil
}

// getLeaders answers GET /v1/leaders.
func (s *Server) getLeaders(w http.ResponseWriter, _ *http.Request) error {
	l := s.backend.Leaders()
	if l.Spans == nil {
		l.Spans = []wire.LeaderSpan{}
	}
	s.router.writeJSON(w, http.StatusOK, l)
	return nil
}
