// Command patternmatch answers questions about patterns with the original code: one JSON question a line
// on standard input, one JSON answer a line on standard output. Byte strings travel as base64.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	gofs "io/fs"
	"os"
	"sort"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
)

// question holds the fields of all operations; each uses some.
type question struct {
	Op       string   // match, walk, filter, follow, ignore
	Patterns [][]byte // match
	Paths    [][]byte // match: what to ask; walk: the files of a made-up tree
	Include  [][]byte // walk, filter
	Exclude  [][]byte // walk, filter
	Follow   [][]byte // filter, follow
	Root     []byte   // filter, follow
	Data     []byte   // ignore
}

type answer struct {
	Error string `json:"error,omitempty"`
	// match: for each path, the result for its ancestors from the top down and for itself, each with its
	// parent's results; then the result for the path alone.
	Chains [][]bool `json:"chains,omitempty"`
	Alone  []bool   `json:"alone,omitempty"`
	// walk: every path that the filter was asked about. walk, filter: what it let through. follow,
	// ignore: the resulting list, Null if there is none at all.
	Asked [][]byte `json:"asked,omitempty"`
	Paths [][]byte `json:"paths,omitempty"`
	Null  bool     `json:"null,omitempty"`
}

func main() {
	// The scanner inside patternmatcher complains about NUL and bad UTF-8 on standard error.
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		os.Stderr = null
	}
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	for {
		line, err := in.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return
		}
		var q question
		if err := json.Unmarshal(line, &q); err != nil {
			panic(err)
		}
		if err := encoder.Encode(reply(&q)); err != nil {
			panic(err)
		}
		if err := out.Flush(); err != nil {
			panic(err)
		}
	}
}

func reply(q *question) *answer {
	a := &answer{}
	var err error
	switch q.Op {
	case "match":
		err = match(q, a)
	case "walk":
		err = walk(q, a)
	case "filter":
		err = filter(q, a)
	case "follow":
		err = follow(q, a)
	case "ignore":
		var list []string
		list, err = ignorefile.ReadAll(bytes.NewReader(q.Data))
		a.Paths = toBytes(list)
	default:
		panic("unknown operation " + q.Op)
	}
	if err != nil {
		return &answer{Error: err.Error()}
	}
	return a
}

// compileAll makes every pattern compile, which the matcher itself does only when it needs one.
func compileAll(patterns []string) error {
	for _, pattern := range patterns {
		// An exception is only evaluated once something matched: put "match all" before it.
		for _, list := range [][]string{{pattern}, {"**", pattern}} {
			matcher, err := patternmatcher.New(list)
			if err != nil {
				return err
			}
			if _, _, err := matcher.MatchesUsingParentResults("x", patternmatcher.MatchInfo{}); err != nil {
				return err
			}
		}
	}
	return nil
}

func match(q *question, a *answer) error {
	patterns := toStrings(q.Patterns)
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		return err
	}
	if err := compileAll(patterns); err != nil {
		return err
	}
	for _, path := range toStrings(q.Paths) {
		var chain []bool
		var info patternmatcher.MatchInfo
		for end := 1; end <= len(path); end++ {
			if end < len(path) && path[end] != '/' {
				continue
			}
			matched, next, err := matcher.MatchesUsingParentResults(path[:end], info)
			if err != nil {
				return err
			}
			chain = append(chain, matched)
			info = next
		}
		alone, _, err := matcher.MatchesUsingParentResults(path, patternmatcher.MatchInfo{})
		if err != nil {
			return err
		}
		a.Chains = append(a.Chains, chain)
		a.Alone = append(a.Alone, alone)
	}
	return nil
}

// madeUp is a tree that exists only as a list of file paths.
type madeUp struct {
	children map[string][]string // directory -> full paths below it, "" is the root
	asked    [][]byte
}

func newMadeUp(paths []string) *madeUp {
	tree := &madeUp{children: map[string][]string{}}
	seen := map[string]bool{}
	for _, path := range paths {
		for path != "" && !seen[path] {
			seen[path] = true
			parent := ""
			if slash := strings.LastIndexByte(path, '/'); slash >= 0 {
				parent = path[:slash]
			}
			tree.children[parent] = append(tree.children[parent], path)
			path = parent
		}
	}
	for _, list := range tree.children {
		sort.Strings(list)
	}
	return tree
}

func (tree *madeUp) Open(string) (io.ReadCloser, error) { return nil, os.ErrNotExist }

func (tree *madeUp) Walk(ctx context.Context, target string, fn gofs.WalkDirFunc) error {
	return tree.walkBelow("", fn)
}

func (tree *madeUp) walkBelow(directory string, fn gofs.WalkDirFunc) error {
	for _, path := range tree.children[directory] {
		mode := os.FileMode(0o644)
		if _, ok := tree.children[path]; ok {
			mode = os.ModeDir | 0o755
		}
		tree.asked = append(tree.asked, []byte(path))
		entry := &fsutil.DirEntryInfo{Stat: &types.Stat{Path: path, Mode: uint32(mode)}}
		err := fn(path, entry, nil)
		if err == gofs.SkipDir && mode.IsDir() {
			continue
		}
		if err != nil {
			return err
		}
		if err := tree.walkBelow(path, fn); err != nil {
			return err
		}
	}
	return nil
}

func walk(q *question, a *answer) error {
	tree := newMadeUp(toStrings(q.Paths))
	err := through(tree, q, a)
	a.Asked = tree.asked
	return err
}

func filter(q *question, a *answer) error {
	tree, err := fsutil.NewFS(string(q.Root))
	if err != nil {
		return err
	}
	return through(tree, q, a)
}

// through lists what the filter of the question lets through.
func through(tree fsutil.FS, q *question, a *answer) error {
	filtered, err := fsutil.NewFilterFS(tree, &fsutil.FilterOpt{
		IncludePatterns: toStrings(q.Include),
		ExcludePatterns: toStrings(q.Exclude),
		FollowPaths:     toStrings(q.Follow),
	})
	if err != nil {
		return err
	}
	return filtered.Walk(context.Background(), "/", func(path string, entry gofs.DirEntry, err error) error {
		a.Paths = append(a.Paths, []byte(path))
		return err
	})
}

func follow(q *question, a *answer) error {
	tree, err := fsutil.NewFS(string(q.Root))
	if err != nil {
		return err
	}
	list, err := fsutil.FollowLinks(tree, toStrings(q.Follow))
	a.Paths, a.Null = toBytes(list), list == nil
	return err
}

// toStrings keeps the difference between no list and an empty one.
func toStrings(list [][]byte) []string {
	if list == nil {
		return nil
	}
	out := make([]string, 0, len(list))
	for _, item := range list {
		out = append(out, string(item))
	}
	return out
}

func toBytes(list []string) [][]byte {
	out := make([][]byte, 0, len(list))
	for _, item := range list {
		out = append(out, []byte(item))
	}
	return out
}
