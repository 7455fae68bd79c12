//go:build tools

// Package crio pins the CRI-O that Berth is measured beside.
package crio

import (
	_ "github.com/cri-o/cri-o/cmd/crio"
)
