package report

import (
	_ "embed"
	"encoding/json"
	"html/template"
	"os"
)

//go:embed page.html
var page string

// WriteHTML writes the result as one page that needs nothing else: no script, font or picture from outside.
func (r *Result) WriteHTML(path string) error {
	t, err := template.New("page").Parse(page)
	if err != nil {
		return err
	}
	data, err := json.Marshal(r) // escapes <, > and &, so that it may stand in a script element
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := t.Execute(f, map[string]any{"Result": r, "Data": template.JS(data)}); err != nil { //nolint:gosec // JSON of our own
		_ = f.Close()
		return err
	}
	return f.Close()
}
