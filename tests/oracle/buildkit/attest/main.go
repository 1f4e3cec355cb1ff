// Command attest answers, line by line on its standard input, which attestation files BuildKit's exporters
// add to a tree. All of it is the original's own code: exporter/local makes the file system, and what is
// in that and not in the tree comes out.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/exporter"
	"github.com/moby/buildkit/exporter/local"
	gatewaypb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/snapshot"
	"github.com/moby/buildkit/solver/result"
	"github.com/moby/sys/user"
	digest "github.com/opencontainers/go-digest"
)

// Text that need not be UTF-8 is []byte: base64 in JSON.
type job struct {
	Tree         []byte        // directory; none: no reference, which is an empty tree
	IDMap        []user.IDMap  // of the tree, users and groups alike; none: no mapping
	Attestations []attestation // in order
	Prefix       []byte
	Platform     []byte // none: one result without a platform
}

type attestation struct {
	Bundle        bool
	Path          []byte
	PredicateType []byte
	Content       []byte
	HasContent    bool
	Ref           []byte // directory; none: no reference
	Metadata      map[string][]byte
	Subjects      []subject
}

type subject struct {
	Raw     bool
	Name    []byte
	Digests [][]byte // algorithm:hex
}

type file struct {
	Name []byte
	Data []byte
}

type answer struct {
	Error string
	Files []file
}

// ref is as much of a reference as the exporter uses.
type ref struct {
	cache.ImmutableRef
	dir string
	ids *user.IdentityMapping
}

func (r *ref) Mount(context.Context, bool, session.Group) (snapshot.Mountable, error) {
	return mountable{r}, nil
}

type mountable struct{ ref *ref }

// A bind mount that may be written to is used in place, without mounting anything.
func (m mountable) Mount() ([]mount.Mount, func() error, error) {
	mounts := []mount.Mount{{Type: "bind", Source: m.ref.dir}}
	return mounts, func() error { return nil }, nil
}

func (m mountable) IdentityMapping() *user.IdentityMapping { return m.ref.ids }

func convert(in attestation) exporter.Attestation {
	out := exporter.Attestation{
		Path:     string(in.Path),
		Metadata: in.Metadata,
		InToto:   result.InTotoAttestation{PredicateType: string(in.PredicateType)},
	}
	if in.Bundle {
		out.Kind = gatewaypb.AttestationKind_Bundle
	}
	if in.HasContent {
		out.ContentFunc = func(context.Context) ([]byte, error) { return in.Content, nil }
	}
	if in.Ref != nil {
		out.Ref = &ref{dir: string(in.Ref)}
	}
	for _, s := range in.Subjects {
		converted := result.InTotoSubject{Name: string(s.Name)}
		if s.Raw {
			converted.Kind = gatewaypb.InTotoSubjectKind_Raw
		}
		for _, d := range s.Digests {
			converted.Digest = append(converted.Digest, digest.Digest(d))
		}
		out.InToto.Subjects = append(out.InToto.Subjects, converted)
	}
	return out
}

func files(j job) (found []file, err error) {
	ctx := context.Background()
	var tree cache.ImmutableRef
	if j.Tree != nil {
		r := &ref{dir: string(j.Tree)}
		if j.IDMap != nil {
			r.ids = &user.IdentityMapping{UIDMaps: j.IDMap, GIDMaps: j.IDMap}
		}
		tree = r
	}
	var attestations []exporter.Attestation
	for _, a := range j.Attestations {
		attestations = append(attestations, convert(a))
	}
	split := false
	made, cleanup, err := local.CreateFS(ctx, "", string(j.Platform), tree, attestations, time.Unix(0, 0),
		j.Platform != nil, local.CreateFSOpts{AttestationPrefix: string(j.Prefix), PlatformSplit: &split})
	if err != nil {
		return nil, err
	}
	defer cleanup()
	err = made.Walk(ctx, "", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if j.Tree != nil {
			if _, err := os.Lstat(filepath.Join(string(j.Tree), path)); err == nil {
				return nil
			}
		}
		f, err := made.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		data, err := io.ReadAll(f)
		found = append(found, file{[]byte(path), data})
		return err
	})
	return found, err
}

func respond(line []byte) (out answer) {
	defer func() {
		if r := recover(); r != nil {
			out.Error = fmt.Sprintf("panic: %v", r)
		}
	}()
	var j job
	if err := json.Unmarshal(line, &j); err != nil {
		out.Error = "question: " + err.Error()
		return out
	}
	found, err := files(j)
	if err != nil {
		out.Error = err.Error()
	}
	out.Files = found
	return out
}

func main() {
	in := bufio.NewReader(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			if err := out.Encode(respond(line)); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
		if err != nil {
			return
		}
	}
}
