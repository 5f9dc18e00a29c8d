package main

import (
	"encoding/json"

	"github.com/Knetic/govaluate"
)

// {"expr": text, "values": {name: any}}: the value of an expression.
func init() {
	languages["govaluate"] = func(question json.RawMessage) (any, error) {
		var q struct {
			Expr   string
			Values map[string]any
		}
		read(question, &q)
		expression, err := govaluate.NewEvaluableExpression(q.Expr)
		if err != nil {
			return nil, atCompile(err)
		}
		return expression.Evaluate(q.Values)
	}
}
