// The Kubernetes API server, built from its Go modules, for the tests in tests/kubernetes.
//
// Upstream ships it as a container image or an archive; both need more than a Go toolchain and a module proxy.
package main

import (
	"os"
	_ "time/tzdata"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	os.Exit(cli.Run(app.NewAPIServerCommand()))
}
