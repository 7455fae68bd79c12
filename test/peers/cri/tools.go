//go:build tools

// Package tools names what the tests are compiled from, for go.mod.
package tools

import (
	_ "github.com/containerd/containerd/v2/integration/images"
)
