package main

import (
	"encoding/json"
	"regexp"
	"time"

	"sigs.k8s.io/yaml"
)

// What Go's own library answers, and the YAML of Kubernetes.
//
//	regex     {"pattern": text, "text": text}: whether the pattern matches anywhere
//	duration  {"text": text}: nanoseconds, and how Go prints them
//	json      {"text": text}: the text that Go writes of the value that it read
//	yaml      {"text": text}: the value as JSON has it
func init() {
	languages["regex"] = func(question json.RawMessage) (any, error) {
		var q struct{ Pattern, Text string }
		read(question, &q)
		pattern, err := regexp.Compile(q.Pattern)
		if err != nil {
			return nil, atCompile(err)
		}
		return pattern.MatchString(q.Text), nil
	}
	languages["duration"] = func(question json.RawMessage) (any, error) {
		var q struct{ Text string }
		read(question, &q)
		length, err := time.ParseDuration(q.Text)
		if err != nil {
			return nil, atCompile(err)
		}
		return []any{int64(length), length.String()}, nil
	}
	languages["json"] = func(question json.RawMessage) (any, error) {
		var q struct{ Text string }
		read(question, &q)
		var value any
		if err := json.Unmarshal([]byte(q.Text), &value); err != nil {
			return nil, atCompile(err)
		}
		text, err := json.Marshal(value)
		return string(text), err
	}
	languages["yaml"] = func(question json.RawMessage) (any, error) {
		var q struct{ Text string }
		read(question, &q)
		text, err := yaml.YAMLToJSON([]byte(q.Text))
		if err != nil {
			return nil, atCompile(err)
		}
		return json.RawMessage(text), nil
	}
}
