package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/Masterminds/sprig/v3"
	"github.com/antonmedv/expr"
	"github.com/antonmedv/expr/builtin"
	"github.com/doublerebel/bellows"
	"github.com/evilmonkeyinc/jsonpath"
)

// {"expr": text, "data": {name: any}}: the value of a filter expression over an event's data, in the environment
// that Argo Events builds (pkg/shared/expr, filterEvent). The value is told with its Go type, see typed.
//
// {"path": text, "data": any}: what a JSONPath finds, told alike.
func init() {
	functions := sprig.GenericFuncMap()
	delete(functions, "env")
	delete(functions, "expandenv")
	languages["expr"] = func(question json.RawMessage) (any, error) {
		var q struct {
			Expr string
			Data map[string]any
		}
		read(question, &q)
		program, err := expr.Compile(q.Expr)
		if err != nil {
			return nil, atCompile(err)
		}
		env := environment(q.Data)
		env["asInt"] = builtin.Int
		env["asFloat"] = builtin.Float
		env["jsonpath"] = findInText
		env["toJson"] = func(value any) string {
			text, err := json.Marshal(value)
			if err != nil {
				return ""
			}
			return string(text)
		}
		env["sprig"] = functions
		value, err := expr.Run(program, env)
		if err != nil {
			return nil, atRun(err)
		}
		return typed(value), nil
	}
	languages["jsonpath"] = func(question json.RawMessage) (any, error) {
		var q struct {
			Path string
			Data any
		}
		read(question, &q)
		selector, err := jsonpath.Compile(q.Path)
		if err != nil {
			return nil, atCompile(err)
		}
		value, err := selector.Query(q.Data)
		if err != nil {
			return nil, atRun(err)
		}
		return typed(value), nil
	}
}

// environment is what the names of an expression stand for: dashes of top-level names become underscores, names
// with dots become nested maps, and a name that is also the beginning of such a one is left out.
func environment(data map[string]any) map[string]any {
	named := map[string]any{}
	for name, value := range data {
		named[strings.ReplaceAll(name, "-", "_")] = value
	}
	names := make([]string, 0, len(named))
	for name := range named {
		names = append(names, name)
	}
	sort.Strings(names)
	for i := 0; i+1 < len(names); i++ {
		if strings.HasPrefix(names[i+1], names[i]+".") {
			delete(named, names[i])
		}
	}
	return bellows.Expand(named)
}

func findInText(text string, path string) any {
	var data any
	if err := json.Unmarshal([]byte(text), &data); err != nil {
		panic(err)
	}
	value, err := jsonpath.Query(path, data)
	if err != nil {
		panic(err)
	}
	return value
}

// typed is a value as JSON that keeps its Go type: ["nil"], ["bool", true], ["int", "5"], ["float64", "2.5"],
// ["string", "…"], ["list", type, members], ["map", type, pairs sorted by key], ["time", RFC 3339],
// ["time.Duration", "5"], [type] for all else.
func typed(value any) any {
	switch v := value.(type) {
	case nil:
		return []any{"nil"}
	case bool:
		return []any{"bool", v}
	case float64:
		return []any{"float64", strconv.FormatFloat(v, 'g', -1, 64)}
	case string:
		return []any{"string", v}
	case time.Time:
		return []any{"time", v.Format(time.RFC3339Nano)}
	}
	v := reflect.ValueOf(value)
	name := v.Type().String()
	switch v.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return []any{name, strconv.FormatInt(v.Int(), 10)}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return []any{name, strconv.FormatUint(v.Uint(), 10)}
	case reflect.Slice, reflect.Array:
		members := []any{}
		for i := 0; i < v.Len(); i++ {
			members = append(members, typed(v.Index(i).Interface()))
		}
		return []any{"list", name, members}
	case reflect.Map:
		pairs := [][2]any{}
		for _, key := range v.MapKeys() {
			pairs = append(pairs, [2]any{typed(key.Interface()), typed(v.MapIndex(key).Interface())})
		}
		sort.Slice(pairs, func(i, j int) bool { return fmt.Sprint(pairs[i][0]) < fmt.Sprint(pairs[j][0]) })
		return []any{"map", name, pairs}
	}
	return []any{name}
}
