package config

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

var (
	// ErrUnknownKey is returned when a file has a key that this version does not know.
	ErrUnknownKey = errors.New("unknown key")
	// ErrDuplicateKey is returned when a file has the same key twice in one object.
	ErrDuplicateKey = errors.New("key stands twice")
	// ErrTooLarge is returned when a file is larger than its kind may be.
	ErrTooLarge = errors.New("file is too large")
)

// maxDepth bounds the nesting of every JSON file; ours need 4 levels.
const maxDepth = 16

// maxProblems bounds how many problems of one file are listed.
const maxProblems = 32

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	return readAll(f, path, limit)
}

func readAll(r io.Reader, name string, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: %w: at most %d bytes", name, ErrTooLarge, limit)
	}
	return data, nil
}

// decodeStrict decodes data into v, a pointer, once checkJSON has nothing to say about it.
func decodeStrict(data []byte, v any) error {
	if err := checkJSON(data, reflect.TypeOf(v).Elem(), ""); err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// checkJSON walks the tokens of data and joins every problem against typ: unknown and duplicate keys, values of the
// wrong kind, null, too deep nesting and text after the end. path is what the names of keys start with.
func checkJSON(data []byte, typ reflect.Type, path string) error {
	if !utf8.Valid(data) {
		return errors.New("not UTF-8 text")
	}
	if !json.Valid(data) { // says where, which the token reader does not
		var syntax *json.SyntaxError
		if err := json.Unmarshal(data, new(json.RawMessage)); errors.As(err, &syntax) {
			return fmt.Errorf("line %d: not JSON: %w", line(data, syntax.Offset), err)
		}
		return errors.New("not JSON")
	}
	w := walker{dec: json.NewDecoder(bytes.NewReader(data))}
	w.dec.UseNumber()
	if err := w.value(typ, path, 0); err != nil {
		w.problems = append(w.problems, err)
	}
	return errors.Join(w.problems...)
}

func line(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:min(offset, int64(len(data)))], []byte("\n"))
}

// walker reads one valid JSON text. It lists problems and goes on; an error that it returns ends the walk.
type walker struct {
	dec      *json.Decoder
	problems []error
}

func (w *walker) problem(path string, format string, args ...any) {
	if len(w.problems) < maxProblems {
		w.problems = append(w.problems, fmt.Errorf("%s: "+format, append([]any{path}, args...)...))
	}
}

// value reads one value that is to be decoded into typ; a nil typ takes anything.
func (w *walker) value(typ reflect.Type, path string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: nested deeper than %d", named(path), maxDepth)
	}
	tok, err := w.dec.Token()
	if err != nil {
		return err
	}
	switch tok {
	case json.Delim('{'):
		if typ != nil && typ.Kind() != reflect.Struct && typ.Kind() != reflect.Map {
			w.problem(named(path), "want %s, got an object", kindName(typ))
			typ = nil
		}
		return w.object(typ, path, depth)
	case json.Delim('['):
		var elem reflect.Type
		if typ != nil {
			if typ.Kind() == reflect.Slice {
				elem = typ.Elem()
			} else {
				w.problem(named(path), "want %s, got a list", kindName(typ))
			}
		}
		for i := 0; w.dec.More(); i++ {
			if err := w.value(elem, path+"["+strconv.Itoa(i)+"]", depth+1); err != nil {
				return err
			}
		}
		_, err := w.dec.Token()
		return err
	}
	if typ != nil {
		if err := checkScalar(typ, tok); err != nil {
			w.problem(named(path), "%w", err)
		}
	}
	return nil
}

func (w *walker) object(typ reflect.Type, path string, depth int) error {
	seen := map[string]bool{}
	for w.dec.More() {
		tok, err := w.dec.Token()
		if err != nil {
			return err
		}
		key, _ := tok.(string)
		full := key
		if path != "" {
			full = path + "." + key
		}
		if seen[key] {
			w.problem(full, "%w", ErrDuplicateKey)
		}
		seen[key] = true
		var field reflect.Type
		if typ != nil && typ.Kind() == reflect.Map {
			field = typ.Elem()
		} else if typ != nil {
			f, ok := fieldByKey(typ, key)
			if !ok {
				w.problem(full, "%w; the keys here are %s", ErrUnknownKey, strings.Join(keysOf(typ), ", "))
			} else {
				field = f
			}
		}
		if err := w.value(field, full, depth+1); err != nil {
			return err
		}
	}
	_, err := w.dec.Token()
	return err
}

// checkScalar says whether tok can be decoded into typ without loss.
func checkScalar(typ reflect.Type, tok json.Token) error {
	if tok == nil {
		return fmt.Errorf("want %s, got null", kindName(typ))
	}
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](reflect.New(typ)); ok {
		s, isText := tok.(string)
		if !isText {
			return fmt.Errorf("want %s, got %v", kindName(typ), tok)
		}
		return u.UnmarshalText([]byte(s))
	}
	ok := false
	switch typ.Kind() { //nolint:exhaustive // the kinds that our files use
	case reflect.String:
		_, ok = tok.(string)
	case reflect.Bool:
		_, ok = tok.(bool)
	case reflect.Int:
		if n, isNumber := tok.(json.Number); isNumber {
			_, err := strconv.ParseInt(n.String(), 10, 32)
			ok = err == nil
		}
	}
	if !ok {
		if s, isText := tok.(string); isText {
			return fmt.Errorf("want %s, got the text %q", kindName(typ), s)
		}
		return fmt.Errorf("want %s, got %v", kindName(typ), tok)
	}
	return nil
}

func kindName(typ reflect.Type) string {
	if typ == reflect.TypeFor[Duration]() {
		return `a duration in quotes, such as "150ms"`
	}
	switch typ.Kind() {
	case reflect.String:
		return "a text in quotes"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number below 2^31"
	case reflect.Slice:
		return "a list"
	default:
		return "an object"
	}
}

func named(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

// fieldByKey is the type of the field of a struct whose json tag is exactly key.
func fieldByKey(typ reflect.Type, key string) (reflect.Type, bool) {
	for f := range typ.Fields() {
		if f.IsExported() && tagOf(f) == key {
			return f.Type, true
		}
	}
	return nil, false
}

func keysOf(typ reflect.Type) []string {
	var keys []string
	for f := range typ.Fields() {
		if f.IsExported() {
			keys = append(keys, tagOf(f))
		}
	}
	return keys
}

func tagOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}
