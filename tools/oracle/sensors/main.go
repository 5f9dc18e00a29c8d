// Answers what Argo Events' own functions do with a filter, a transform or parameters: JSON lines in, JSON lines out.
//
// Each request has "do" (filter, transform, apply, payload), "data" (base64; absent: an event without data), "time", and what its
// function takes. Each answer has "pass", "err" and "out" (base64). See tests/unit/sensor/test_upstream.py.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"time"
	_ "time/tzdata"

	events "github.com/argoproj/argo-events/pkg/apis/events/v1alpha1"
	"github.com/argoproj/argo-events/pkg/sensors/dependencies"
	"github.com/argoproj/argo-events/pkg/sensors/triggers"
	cloudevents "github.com/cloudevents/sdk-go/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type request struct {
	Do        string                             `json:"do"`
	Data      *string                            `json:"data"`
	Time      string                             `json:"time"`
	Filters   *events.EventDependencyFilter      `json:"filters"`
	Operator  events.LogicalOperator             `json:"operator"`
	Transform *events.EventDependencyTransformer `json:"transform"`
	Document  string                             `json:"document"`
	Params    []events.TriggerParameter          `json:"params"`
	Missing   bool                               `json:"missing"`
}

type answer struct {
	Pass bool    `json:"pass"`
	Err  string  `json:"err"`
	Out  *string `json:"out"`
}

func (r *request) event() *events.Event {
	moment, _ := time.Parse(time.RFC3339Nano, r.Time)
	event := &events.Event{Context: &events.EventContext{
		ID: "1", Source: "web", SpecVersion: "1.0", Type: "webhook", Subject: "in",
		DataContentType: events.MediaTypeJSON, Time: metav1.Time{Time: moment},
	}}
	if r.Data != nil {
		event.Data, _ = base64.StdEncoding.DecodeString(*r.Data)
	}
	return event
}

func (a *answer) take(out []byte, err error) {
	if err != nil {
		a.Err = err.Error()
		return
	}
	text := base64.StdEncoding.EncodeToString(out)
	a.Out = &text
}

func (r *request) ask() (a answer) {
	defer func() {
		if fault := recover(); fault != nil {
			a = answer{Err: fmt.Sprint("panic: ", fault)}
		}
	}()
	switch r.Do {
	case "filter":
		pass, err := dependencies.Filter(r.event(), r.Filters, r.Operator)
		a.Pass = pass
		if err != nil {
			a.Err = err.Error()
		}
	case "transform":
		event := cloudevents.NewEvent()
		event.SetDataContentType(cloudevents.ApplicationJSON)
		event.DataEncoded = r.event().Data
		out, err := dependencies.ApplyTransform(&event, r.Transform)
		if err != nil {
			a.Err = err.Error()
			return a
		}
		a.take(out.Data(), nil)
	default:
		caused := map[string]*events.Event{}
		if !r.Missing {
			caused["d"] = r.event()
		}
		if r.Do == "apply" {
			a.take(triggers.ApplyParams([]byte(r.Document), r.Params, caused))
		} else {
			a.take(triggers.ConstructPayload(caused, r.Params))
		}
	}
	return a
}

func main() {
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	// Upstream prints to standard output what it falls back from.
	os.Stdout, _ = os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<26)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			panic(err)
		}
		line, err := json.Marshal(r.ask())
		if err != nil {
			panic(err)
		}
		out.Write(append(line, '\n'))
	}
}
