//go:build tools

// Package buildkit pins the daemon and the client that the tests run. It is a module of its own:
// their dependencies are hundreds, and the small programs next to it need a handful.
package buildkit

import (
	_ "github.com/moby/buildkit/cmd/buildctl"
	_ "github.com/moby/buildkit/cmd/buildkitd"
)
