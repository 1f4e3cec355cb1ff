// Command writetar is the original that tarcast is measured against: BuildKit's chain
// NewFS -> NewFilterFS -> SubDirFS -> WriteTar with the map function of its local exporter.
//
//	writetar [flags] DIR            one tree
//	writetar [flags] NAME=DIR...    trees side by side
//	writetar -serve                 one JSON job a line on stdin, one JSON answer a line on stdout
//
// Pattern flags are repeatable and take one pattern each; the ones ending in 64 take it in base64.
// In a job every byte string is base64, which is how encoding/json reads a []byte.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
)

// root is one tree; a null name means that it is the archive's own root.
type root struct {
	Name *[]byte `json:"name"`
	Path []byte  `json:"path"`
}

type job struct {
	Roots   []root   `json:"roots"`
	Include [][]byte `json:"include"`
	Exclude [][]byte `json:"exclude"`
	Follow  [][]byte `json:"follow"`
	IDMap   []string `json:"idmap"`
	Epoch   *int64   `json:"epoch"`
	// TrustWalk opens data past the filter. The original asks its patterns a second time at open,
	// in another way, and then refuses files whose header it has written; tarcast does not.
	TrustWalk bool   `json:"trust_walk"`
	Out       string `json:"out"`
}

type idRange struct{ container, host, size int64 }

func parseRanges(texts []string) ([]idRange, error) {
	ranges := []idRange{}
	for _, text := range texts {
		parts := strings.Split(text, ":")
		if len(parts) != 3 {
			return nil, fmt.Errorf("id range %q is not C:H:N", text)
		}
		var numbers [3]int64
		for i, part := range parts {
			n, err := strconv.ParseInt(part, 10, 64)
			if err != nil {
				return nil, err
			}
			numbers[i] = n
		}
		ranges = append(ranges, idRange{numbers[0], numbers[1], numbers[2]})
	}
	return ranges, nil
}

func toContainer(ranges []idRange, id uint32) (uint32, bool) {
	for _, r := range ranges {
		if h := int64(id); r.host <= h && h < r.host+r.size {
			return uint32(r.container + (h - r.host)), true
		}
	}
	return 0, false
}

func (j *job) mapFunc() (fsutil.MapFunc, error) {
	ranges, err := parseRanges(j.IDMap)
	if err != nil {
		return nil, err
	}
	return func(_ string, st *types.Stat) fsutil.MapResult {
		result := fsutil.MapResultKeep
		if j.IDMap != nil {
			uid, uidOK := toContainer(ranges, st.Uid)
			gid, gidOK := toContainer(ranges, st.Gid)
			if uidOK && gidOK {
				st.Uid, st.Gid = uid, gid
			} else {
				result = fsutil.MapResultExclude
			}
		}
		if j.Epoch != nil {
			st.ModTime = *j.Epoch * 1e9
		}
		return result
	}, nil
}

func texts(list [][]byte) []string {
	if list == nil {
		return nil
	}
	out := []string{}
	for _, item := range list {
		out = append(out, string(item))
	}
	return out
}

type trustWalkFS struct {
	fsutil.FS
	unfiltered fsutil.FS
}

func (t trustWalkFS) Open(p string) (io.ReadCloser, error) { return t.unfiltered.Open(p) }

func (j *job) open(path string) (fsutil.FS, error) {
	host, err := fsutil.NewFS(path)
	if err != nil {
		return nil, err
	}
	mapFn, err := j.mapFunc()
	if err != nil {
		return nil, err
	}
	filtered, err := fsutil.NewFilterFS(host, &fsutil.FilterOpt{
		IncludePatterns: texts(j.Include),
		ExcludePatterns: texts(j.Exclude),
		FollowPaths:     texts(j.Follow),
		Map:             mapFn,
	})
	if err == nil && j.TrustWalk {
		filtered = trustWalkFS{filtered, host}
	}
	return filtered, err
}

func (j *job) tree() (fsutil.FS, error) {
	if len(j.Roots) == 1 && j.Roots[0].Name == nil {
		return j.open(string(j.Roots[0].Path))
	}
	dirs := []fsutil.Dir{}
	for _, r := range j.Roots {
		if r.Name == nil {
			return nil, fmt.Errorf("%q needs a name", r.Path)
		}
		below, err := j.open(string(r.Path))
		if err != nil {
			return nil, err
		}
		st := &types.Stat{
			Mode: uint32(os.FileMode(0o755) | fs.ModeDir),
			Path: strings.ReplaceAll(string(*r.Name), "/", "_"),
		}
		if j.Epoch != nil {
			st.ModTime = *j.Epoch * 1e9
		}
		dirs = append(dirs, fsutil.Dir{FS: below, Stat: st})
	}
	return fsutil.SubDirFS(dirs)
}

func (j *job) run() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	out := os.Stdout
	if j.Out != "" {
		if out, err = os.Create(j.Out); err != nil {
			return err
		}
		defer out.Close()
	}
	tree, err := j.tree()
	if err != nil {
		return err
	}
	return fsutil.WriteTar(context.Background(), tree, out)
}

func serve() error {
	lines, answers := bufio.NewReader(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		var answer struct {
			Error *string `json:"error"`
		}
		j := job{}
		if err = json.Unmarshal(line, &j); err == nil {
			if j.Out == "" {
				err = fmt.Errorf("a served job needs \"out\"")
			} else {
				err = j.run()
			}
		}
		if err != nil {
			text := err.Error()
			answer.Error = &text
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
}

func main() {
	j := job{}
	patterns := func(name string, list *[][]byte) {
		flag.Func(name, "pattern (repeatable)", func(text string) error {
			*list = append(*list, []byte(text))
			return nil
		})
		flag.Func(name+"64", "the same in base64 (repeatable)", func(text string) error {
			raw, err := base64.StdEncoding.DecodeString(text)
			*list = append(*list, raw)
			return err
		})
	}
	patterns("include", &j.Include)
	patterns("exclude", &j.Exclude)
	patterns("follow", &j.Follow)
	flag.Func("idmap", "CONTAINER:HOST:SIZE (repeatable)", func(text string) error {
		j.IDMap = append(j.IDMap, text)
		return nil
	})
	epoch := flag.Int64("epoch", -1, "modification time of every entry, in seconds; negative: keep")
	flag.StringVar(&j.Out, "o", "", "archive to write (default, or -: standard output)")
	server := flag.Bool("serve", false, "answer jobs from standard input")
	flag.Parse()
	if j.Out == "-" {
		j.Out = ""
	}

	var err error
	if *server {
		err = serve()
	} else {
		if *epoch >= 0 {
			j.Epoch = epoch
		}
		for _, arg := range flag.Args() {
			if name, path, named := strings.Cut(arg, "="); named {
				raw := []byte(name)
				j.Roots = append(j.Roots, root{&raw, []byte(path)})
			} else {
				j.Roots = append(j.Roots, root{nil, []byte(arg)})
			}
		}
		err = j.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "writetar:", err)
		os.Exit(1)
	}
}
