//go:build tools

// Package makers pins registries and programs that make images, other than those of Debian.
package makers

import (
	_ "github.com/google/go-containerregistry/cmd/crane"
	_ "github.com/olareg/olareg/cmd/olareg"
	_ "github.com/regclient/regclient/cmd/regctl"
)
