package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/Knetic/govaluate"
	"github.com/antonmedv/expr"
)

// {"condition": text, "names": [text], "present": [text]}: whether a trigger's condition holds when events of the
// present dependencies have come. Argo Events asks both libraries: expr puts the texts of names and operators
// together, govaluate evaluates what comes out.
func init() {
	languages["condition"] = func(question json.RawMessage) (any, error) {
		var q struct {
			Condition      string
			Names, Present []string
		}
		read(question, &q)
		names, came := map[string]string{}, map[string]any{}
		for _, name := range q.Names {
			names[strings.ReplaceAll(name, "-", "_")] = name
			came[name] = false
		}
		for _, name := range q.Present {
			came[name] = true
		}
		joined := strings.NewReplacer("-", "_", "&&", ` + "&&" + `, "||", ` + "||" + `, "(", `"("+`, ")", `+")"`)
		program, err := expr.Compile(joined.Replace(q.Condition), expr.Env(names))
		if err != nil {
			return nil, atCompile(err)
		}
		text, err := expr.Run(program, names)
		if err != nil {
			return nil, atCompile(err)
		}
		condition, err := govaluate.NewEvaluableExpression(strings.ReplaceAll(fmt.Sprint(text), "-", `\-`))
		if err != nil {
			return nil, atCompile(err)
		}
		return condition.Evaluate(came)
	}
}
