// The oracle answers questions about the languages of Argo Events with the very Go modules that Argo Events
// pins. One JSON object a line in, one a line out, in the same order:
//
//	{"lang": "gjson", "json": "{\"a\": 1}", "path": "a"}
//	{"ok": {"kind": "Number", "raw": "1", "string": "1"}}
//
// A question that the library refuses is answered with its words and with the moment at which it did so:
//
//	{"error": "…", "at": "compile"}    the text is not of the language
//	{"error": "…", "at": "run"}        the text is, and failed on this value
//	{"error": "…", "at": "panic"}      the library crashed, as the process of Argo Events would have
//	{"error": "…", "at": "none"}       a program ran and had no output
//	{"error": "…", "at": "timeout"}    the library did not come back within five seconds; the oracle ends then,
//	                                   because nothing can stop the library
//
// One file is one language and enters itself into the table below; `tools/golden.py` asks, and
// `tests/golden` keeps the answers.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"time"
)

// A language answers one question. What it returns is written as JSON, see plain.
type language func(question json.RawMessage) (any, error)

var languages = map[string]language{}

const patience = 5 * time.Second

// refusal is an error with the moment at which it happened.
type refusal struct {
	at  string
	why error
}

func (r refusal) Error() string { return r.why.Error() }

func atCompile(why error) error { return refusal{"compile", why} }

func atRun(why error) error { return refusal{"run", why} }

// read decodes a question. A question that cannot be read is the asker's mistake, and ends the oracle.
func read(question json.RawMessage, into any) {
	if err := json.Unmarshal(question, into); err != nil {
		fmt.Fprintf(os.Stderr, "oracle: %s: %v\n", question, err)
		os.Exit(2)
	}
}

// decoded is the value of a JSON text as Argo Events has it: numbers are float64.
func decoded(text json.RawMessage) any {
	var value any
	read(text, &value)
	return value
}

// plain is a value as JSON can hold it. What JSON has no word for is an object with the single member
// "float": infinities and NaN.
func plain(value any) any {
	switch v := value.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return map[string]any{"float": fmt.Sprint(v)}
		}
	case map[string]any:
		copied := make(map[string]any, len(v))
		for key, item := range v {
			copied[key] = plain(item)
		}
		return copied
	case []any:
		copied := make([]any, len(v))
		for index, item := range v {
			copied[index] = plain(item)
		}
		return copied
	}
	return value
}

func answer(question json.RawMessage) map[string]any {
	var head struct{ Lang string }
	read(question, &head)
	ask, known := languages[head.Lang]
	if !known {
		fmt.Fprintf(os.Stderr, "oracle: the language %q is not known\n", head.Lang)
		os.Exit(2)
	}
	answered := make(chan map[string]any, 1)
	go func() {
		defer func() {
			if crash := recover(); crash != nil {
				answered <- map[string]any{"error": fmt.Sprint(crash), "at": "panic"}
			}
		}()
		value, err := ask(question)
		var refused refusal
		switch {
		case errors.As(err, &refused):
			answered <- map[string]any{"error": refused.Error(), "at": refused.at}
		case err != nil:
			answered <- map[string]any{"error": err.Error(), "at": "run"}
		default:
			answered <- map[string]any{"ok": plain(value)}
		}
	}()
	select {
	case found := <-answered:
		return found
	case <-time.After(patience):
		return map[string]any{"error": "no answer", "at": "timeout"}
	}
}

func main() {
	// Answers must not depend on the machine's clock zone.
	time.Local = time.UTC
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for lines.Scan() {
		var line bytes.Buffer
		encoder := json.NewEncoder(&line)
		encoder.SetEscapeHTML(false)
		found := answer(bytes.Clone(lines.Bytes()))
		if err := encoder.Encode(found); err != nil {
			line.Reset()
			fmt.Fprintf(&line, "{\"error\":%q,\"at\":\"run\"}\n", err.Error())
		}
		out.Write(line.Bytes())
		out.Flush()
		if found["at"] == "timeout" {
			os.Exit(3)
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintf(os.Stderr, "oracle: %v\n", err)
		os.Exit(2)
	}
}
