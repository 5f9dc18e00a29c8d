package main

import (
	"encoding/json"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
)

// {"text": text, "dot": any}: what a template with sprig's functions writes.
// {"text": "functions"} under the language "sprig": the names of those functions, and of text/template's own.
func init() {
	languages["template"] = func(question json.RawMessage) (any, error) {
		var q struct {
			Text string
			Dot  any
		}
		read(question, &q)
		parsed, err := template.New("t").Funcs(sprig.TxtFuncMap()).Parse(q.Text)
		if err != nil {
			return nil, atCompile(err)
		}
		var out strings.Builder
		if err := parsed.Execute(&out, q.Dot); err != nil {
			return nil, atRun(err)
		}
		return out.String(), nil
	}
	languages["sprig"] = func(json.RawMessage) (any, error) {
		names := []any{}
		for name := range sprig.TxtFuncMap() {
			names = append(names, name)
		}
		return names, nil
	}
}
