package main

import (
	"encoding/json"
	"errors"

	"github.com/itchyny/gojq"
)

// {"text": text, "input": any}: the first output of a program. A program without any is refused at "none".
func init() {
	languages["jq"] = func(question json.RawMessage) (any, error) {
		var q struct {
			Text  string
			Input any
		}
		read(question, &q)
		query, err := gojq.Parse(q.Text)
		if err != nil {
			return nil, atCompile(err)
		}
		code, err := gojq.Compile(query)
		if err != nil {
			return nil, atCompile(err)
		}
		value, some := code.Run(q.Input).Next()
		if !some {
			return nil, refusal{"none", errors.New("no output")}
		}
		if err, failed := value.(error); failed {
			return nil, atRun(err)
		}
		return value, nil
	}
}
