// Answers what Argo Workflows' own functions make of a Workflow that is tried again or resubmitted: JSON lines in, JSON lines out.
//
// Each request has "do" (retry, resubmit), "workflow" and the options of that function. Each answer has "workflow" and "pods" (those that are to
// be deleted), or "err". See tests/unit/triggers/test_workflow_again.py.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	"github.com/argoproj/argo-workflows/v3/workflow/util"
)

type request struct {
	Do         string        `json:"do"`
	Workflow   wfv1.Workflow `json:"workflow"`
	Restart    bool          `json:"restart"`
	Selector   string        `json:"selector"`
	Memoized   bool          `json:"memoized"`
	Parameters []string      `json:"parameters"`
}

type answer struct {
	Workflow *wfv1.Workflow `json:"workflow,omitempty"`
	Pods     []string       `json:"pods,omitempty"`
	Err      string         `json:"err,omitempty"`
}

func (r *request) answer() (found answer) {
	defer func() {
		if broken := recover(); broken != nil {
			found = answer{Err: fmt.Sprintf("panic: %v", broken)}
		}
	}()
	var err error
	switch r.Do {
	case "retry":
		found.Workflow, found.Pods, err = util.FormulateRetryWorkflow(context.Background(), &r.Workflow, r.Restart, r.Selector, r.Parameters)
		sort.Strings(found.Pods)
	case "resubmit":
		found.Workflow, err = util.FormulateResubmitWorkflow(context.Background(), &r.Workflow, r.Memoized, r.Parameters)
	}
	if err != nil {
		return answer{Err: err.Error()}
	}
	return found
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<26)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		var asked request
		if err := json.Unmarshal(in.Bytes(), &asked); err != nil {
			_ = out.Encode(answer{Err: err.Error()})
			continue
		}
		_ = out.Encode(asked.answer())
	}
}
