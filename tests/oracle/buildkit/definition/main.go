// Command definition prints what `buildctl build` reads: a definition (LLB) of a result that holds the
// directories and files of a tree. It takes nothing from the client, so the daemon alone can build it.
package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/moby/buildkit/client/llb"
)

func definition(top string) (*llb.Definition, error) {
	var all *llb.FileAction // one step, so that the result is one layer
	add := func(first *llb.FileAction, next func(*llb.FileAction) *llb.FileAction) {
		if all == nil {
			all = first
		} else {
			all = next(all)
		}
	}
	when := llb.WithCreatedTime(time.Unix(1700000000, 0))
	err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == top {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			add(llb.Mkdir(name, info.Mode().Perm(), when), func(a *llb.FileAction) *llb.FileAction {
				return a.Mkdir(name, info.Mode().Perm(), when)
			})
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		add(llb.Mkfile(name, info.Mode().Perm(), content, when), func(a *llb.FileAction) *llb.FileAction {
			return a.Mkfile(name, info.Mode().Perm(), content, when)
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return llb.Scratch().File(all).Marshal(context.Background(), llb.LinuxAmd64)
}

func main() {
	made, err := definition(os.Args[1])
	if err == nil {
		err = llb.WriteTo(made, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
