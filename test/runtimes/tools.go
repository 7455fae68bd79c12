//go:build tools

// Package runtimes pins OCI runtimes that are newer than Debian's, for tests of what changed in them.
package runtimes

import _ "github.com/opencontainers/runc"
