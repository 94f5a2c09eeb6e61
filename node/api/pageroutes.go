package api

import (
	"net/http"

	"github.com/baton-ha/baton/node/api/page"
)

// pageRoutes are those of the page for people.
func (s *Server) pageRoutes() ([]route, error) {
	files, err := page.Files()
	if err != nil {
		return nil, err //nolint:wrapcheck // says all
	}
	var routes []route
	for _, f := range files {
		routes = append(routes, route{http.MethodGet, f.Path, s.reads, func(w http.ResponseWriter, r *http.Request) error {
			s.router.allowWrite(w, s.cfg.WriteTimeout)
			f.ServeHTTP(w, r)
			return nil
		}})
	}
	return routes, nil
}
