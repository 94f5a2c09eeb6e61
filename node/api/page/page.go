package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed static
var static embed.FS

const (
	// Root is the path of the document, as a pattern of [http.ServeMux]: itself and nothing below it.
	Root = "/{$}"
	// folder is where the other files are.
	folder = "/page/"
)

// policy lets the page do what it needs and nothing else: see the package's comment.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// File is one file of the page. It serves itself; all methods may be called concurrently.
type File struct {
	// Path is where it is served, as a pattern of [http.ServeMux].
	Path string

	name, contentType, tag string
	body                   []byte
}

// Files returns the page, one file a path. It fails only if the program was built wrongly: a file of a kind that nobody
// has given a content type.
func Files() ([]*File, error) {
	var files []*File
	err := fs.WalkDir(static, "static", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := static.ReadFile(name)
		if err != nil {
			return err //nolint:wrapcheck // said below
		}
		contentType, err := contentTypeOf(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		f := &File{
			Path: folder + path.Base(name), name: path.Base(name), contentType: contentType, body: body,
			tag: `"` + hex.EncodeToString(sum[:12]) + `"`,
		}
		if f.name == "index.html" {
			f.Path = Root
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	return files, nil
}

// contentTypeOf does not ask the machine's own tables, as package mime would.
func contentTypeOf(name string) (string, error) {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8", nil
	case ".css":
		return "text/css; charset=utf-8", nil
	case ".js":
		return "text/javascript; charset=utf-8", nil
	case ".svg":
		return "image/svg+xml", nil
	}
	return "", fmt.Errorf("%s: no content type", name)
}

// ServeHTTP answers GET and HEAD, with 304 where the client has this very file.
func (f *File) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("Cache-Control", "no-cache") // ask again each time; the tag makes that cheap
	h.Set("ETag", f.tag)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", policy)
	if strings.HasPrefix(f.contentType, "text/html") {
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("X-Frame-Options", "DENY") // for browsers that do not know frame-ancestors
	}
	http.ServeContent(w, r, f.name, time.Time{}, bytes.NewReader(f.body))
}
