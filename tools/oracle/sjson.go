package main

import (
	"encoding/json"

	"github.com/tidwall/sjson"
)

// {"json": text, "path": text, "value": any} or {…, "raw": text}: the text with the value at the path.
func init() {
	languages["sjson"] = func(question json.RawMessage) (any, error) {
		var q struct {
			JSON, Path string
			Value      json.RawMessage
			Raw        *string
		}
		read(question, &q)
		var text []byte
		var err error
		if q.Raw != nil {
			text, err = sjson.SetRawBytes([]byte(q.JSON), q.Path, []byte(*q.Raw))
		} else {
			text, err = sjson.SetBytes([]byte(q.JSON), q.Path, decoded(q.Value))
		}
		if err != nil {
			return nil, atRun(err)
		}
		return string(text), nil
	}
}
