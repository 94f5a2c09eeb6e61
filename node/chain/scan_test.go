package chain

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

var fuzzLimits = limits{depth: maxPayloadDepth, values: maxPayloadValues}

func TestScanAccepts(t *testing.T) {
	for _, text := range []string{
		`{}`, `[]`, ` [ ] `, "\t\r\n{ \"a\" : 1 , \"b\" : [ true , false , null ] }\n", `0`, `-0`, `-12.5e+3`, `1E9`, `""`,
		`"\"\\\/\b\f\n\r\t"`, `"\u0041\u00e9\ud83d\ude00"`, `"é😀"`, `{"":1,"a":{"a":{"a":[]}}}`,
	} {
		if _, err := scanJSON([]byte(text), fuzzLimits); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if !json.Valid([]byte(text)) {
			t.Errorf("%s is not JSON: mistake of the test", text)
		}
	}
	v, err := scanJSON([]byte(`"a\u0041\n\ud83d\ude00é"`), fuzzLimits)
	if err != nil || string(v.text) != "aA\n😀é" {
		t.Errorf("%q, %v", v.text, err)
	}
}

func TestScanRefuses(t *testing.T) {
	for _, text := range []string{
		``, ` `, `{`, `}`, `[`, `{"a"}`, `{"a":}`, `{"a":1,}`, `[1,]`, `[1 2]`, `{a:1}`, `{'a':1}`, `{} {}`, `{}x`, `01`, `+1`,
		`.5`, `1.`, `1e`, `-`, `--1`, `0x1`, `NaN`, `Infinity`, `tru`, `nul`, `True`, `"`, `"a`, `"\x"`, `"\u12"`, `"\u12g4"`,
		`"\ud800"`, `"\ud800x"`, `"\ud800\n"`, `"\ud800\ud800"`, `"\udc00"`, "\"\n\"", "\"a\\n\x01\"", "\xff", "\"\xff\"",
		"\xef\xbb\xbf{}", "{}\x00", `// c` + "\n{}", `{"a":1,"a":1}`, `{"a":1,"b":2,"\u0061":3}`, `[{"a":{"x":1,"x":2}}]`,
		strings.Repeat("[", 17) + strings.Repeat("]", 17), strings.Repeat(`{"a":`, 5000), "[" + strings.Repeat("0,", 20000) + "0]",
	} {
		if v, err := scanJSON([]byte(text), fuzzLimits); err == nil {
			t.Errorf("%.40q was read as %v", text, v.kind)
		}
	}
	var many bytes.Buffer // more fields than are compared pairwise
	many.WriteString(`{"x":0`)
	for i := range 100 {
		many.WriteString(`,"` + strings.Repeat("f", i+1) + `":0`)
	}
	if _, err := scanJSON([]byte(many.String()+"}"), fuzzLimits); err != nil {
		t.Error(err)
	}
	if _, err := scanJSON([]byte(many.String()+`,"ff":0}`), fuzzLimits); err == nil {
		t.Error("a field that stands twice among many was not found")
	}
}

// FuzzScan compares with encoding/json: what the scanner accepts is JSON with the same meaning, and what it refuses
// although it is JSON has a known reason.
func FuzzScan(f *testing.F) {
	for _, text := range []string{
		`{"a":[1,-2.5e3,"x\u0041\ud83d\ude00",{}],"b":null,"c":true}`, `{"a":1,"a":2}`, `"\ud800"`, `[[[]]]`, ` "é" `,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		v, err := scanJSON(in, fuzzLimits)
		if err != nil {
			if json.Valid(in) && utf8.Valid(in) && !bytes.Contains(in, []byte(`\u`)) &&
				!strings.Contains(err.Error(), "stands twice") && !strings.Contains(err.Error(), "too ") {
				t.Fatalf("%q refused: %v", in, err)
			}
			return
		}
		d := json.NewDecoder(bytes.NewReader(in))
		d.UseNumber()
		var want any
		if err := d.Decode(&want); err != nil {
			t.Fatalf("%q accepted, encoding/json says %v", in, err)
		}
		if _, err := d.Token(); err != io.EOF {
			t.Fatalf("%q accepted with something behind", in)
		}
		if !same(v, want) {
			t.Fatalf("%q read differently from %v", in, want)
		}
	})
}

func same(v value, want any) bool {
	switch w := want.(type) {
	case nil:
		return v.kind == kindNull
	case bool:
		return v.kind == kindBool && (string(v.text) == "true") == w
	case json.Number:
		return v.kind == kindNumber && string(v.text) == w.String()
	case string:
		return v.kind == kindString && string(v.text) == w
	case []any:
		if v.kind != kindArray || len(v.list) != len(w) {
			return false
		}
		for i := range w {
			if !same(v.list[i].value, w[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		if v.kind != kindObject || len(v.list) != len(w) {
			return false
		}
		for _, f := range v.list {
			x, ok := w[string(f.name)]
			if !ok || !same(f.value, x) {
				return false
			}
		}
		return true
	}
	return false
}
