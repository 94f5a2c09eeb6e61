package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"
)

// maxConfigBytes bounds config.json.
const maxConfigBytes = 1 << 20

// envPrefix starts the name of every variable that overrides a key.
const envPrefix = "BATON"

// Load reads the config.json at path, overrides it from the environment and validates it. The error names the file and,
// joined, everything that is wrong with it.
func Load(path string) (*Config, error) {
	data, err := readBounded(path, maxConfigBytes)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("config %s: %w; write one with baton init", path, os.ErrNotExist)
		}
		return nil, fmt.Errorf("config: %w", err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("config %s: %w", path, err)
	}
	cfg, err := Parse(data, filepath.Dir(abs), os.Getenv)
	if err != nil {
		return nil, fmt.Errorf("config %s: %w", path, err)
	}
	return cfg, nil
}

// Parse is [Load] on the bytes of a config.json that lies in the folder dir, an absolute path, with the environment
// that getenv tells; a nil getenv is an empty environment.
func Parse(data []byte, dir string, getenv func(string) string) (*Config, error) {
	cfg := DefaultConfig()
	if err := checkJSON(data, reflect.TypeFor[Config](), ""); err != nil {
		return nil, err
	}
	v := viper.New()
	v.SetConfigType("json")
	if err := v.ReadConfig(bytes.NewReader(data)); err != nil {
		return nil, err
	}
	if getenv != nil {
		if err := override(v, reflect.TypeFor[Config](), "", getenv); err != nil {
			return nil, err
		}
	}
	if err := v.Unmarshal(&cfg, decodeOptions); err != nil {
		return nil, err
	}
	cfg.dir = dir
	if cfg.Raftify.ID == "" {
		cfg.Raftify.ID = cfg.ID
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &cfg, nil
}

func decodeOptions(dc *mapstructure.DecoderConfig) {
	dc.TagName = "json"
	dc.ZeroFields = true // a list in the file replaces the default instead of overlaying it
	dc.WeaklyTypedInput = false
	dc.DecodeHook = mapstructure.TextUnmarshallerHookFunc()
}

// EnvName is the environment variable that overrides key, a full key such as "api.listen".
func EnvName(key string) string {
	return envPrefix + "_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// override sets every key below typ that the environment has a value for.
func override(v *viper.Viper, typ reflect.Type, path string, getenv func(string) string) error {
	var problems []error
	for f := range typ.Fields() {
		if !f.IsExported() {
			continue
		}
		key := tagOf(f)
		if path != "" {
			key = path + "." + key
		}
		if f.Type.Kind() == reflect.Struct {
			problems = append(problems, override(v, f.Type, key, getenv))
			continue
		}
		text := getenv(EnvName(key))
		if text == "" {
			continue
		}
		value, err := parseEnv(f.Type, text)
		if err != nil {
			problems = append(problems, fmt.Errorf("environment variable %s (%s): %w", EnvName(key), key, err))
			continue
		}
		v.Set(key, value)
	}
	return errors.Join(problems...)
}

// parseEnv reads the text of a variable as a value for a field of type typ.
func parseEnv(typ reflect.Type, text string) (any, error) {
	switch typ.Kind() {
	case reflect.Int:
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("want %s, got %q", kindName(typ), text)
		}
		return int(n), nil
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("want true or false, got %q", text)
		}
		return b, nil
	case reflect.Slice:
		if typ.Elem().Kind() == reflect.String {
			list := strings.Split(text, ",")
			for i := range list {
				list[i] = strings.TrimSpace(list[i])
			}
			return list, nil
		}
		if err := checkJSON([]byte(text), typ, ""); err != nil {
			return nil, fmt.Errorf("want JSON: %w", err)
		}
		var list []any
		err := json.Unmarshal([]byte(text), &list)
		return list, err
	default:
		if typ == reflect.TypeFor[Duration]() {
			if err := new(Duration).UnmarshalText([]byte(text)); err != nil {
				return nil, err
			}
		}
		return text, nil
	}
}
