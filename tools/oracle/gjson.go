package main

import (
	"encoding/json"

	"github.com/tidwall/gjson"
)

// {"json": text, "path": text}: what a path finds, with every reading of it that filters and parameters use.
func init() {
	languages["gjson"] = func(question json.RawMessage) (any, error) {
		var q struct{ JSON, Path string }
		read(question, &q)
		found := gjson.Get(q.JSON, q.Path)
		if !found.Exists() {
			return nil, nil
		}
		return map[string]any{
			"kind":   found.Type.String(),
			"raw":    found.Raw,
			"string": found.String(),
			"number": plain(found.Float()),
			"bool":   found.Bool(),
			"value":  plain(found.Value()),
		}, nil
	}
}
