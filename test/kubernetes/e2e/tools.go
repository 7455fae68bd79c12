//go:build tools

// Package e2e pins Kubernetes' suite of a cluster, whose modules the programs of the folder above do without.
package e2e

import (
	_ "k8s.io/kubernetes/test/e2e"
)
