//go:build tools

// Package sample pins the API server that a spec of Kubernetes' has the cluster's own hand requests on to.
package sample

import (
	_ "k8s.io/sample-apiserver"
)
