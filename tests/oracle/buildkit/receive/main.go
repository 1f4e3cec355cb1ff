// Command receive is a client of BuildKit's own making: its client, session and filesync packages ask a
// daemon for a tar archive and take it. What came of it is one line of JSON on standard output.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/filesync"
	"github.com/tonistiigi/fsutil"
)

type pairs map[string]string

func (p pairs) String() string { return fmt.Sprint(map[string]string(p)) }

func (p pairs) Set(text string) error {
	key, value, found := strings.Cut(text, "=")
	if !found {
		return fmt.Errorf("%q is not KEY=VALUE", text)
	}
	p[key] = value
	return nil
}

var (
	addr       = flag.String("addr", "", "where the daemon listens: unix:///path or tcp://host:port")
	sessions   = flag.String("sessions", "", "where -via upgrade opens its session; none: at addr")
	via        = flag.String("via", "control", "how the session is opened: control (its stream) or upgrade (HTTP)")
	id         = flag.String("id", "", "open a session alone, of this id with -via upgrade, until standard input ends")
	frontend   = flag.String("frontend", "", "the frontend to ask")
	definition = flag.String("definition", "", "file with the definition to build instead")
	copied     = flag.String("copy", "", "absolute directory: build a copy of it instead, transferred only the first time")
	outputs    = flag.Int("outputs", 1, "how many exporters the request has, each for an archive of its own")
	out        = flag.String("out", "", "file of the archive (more of them: with .1, .2, ...); none: count and forget it")
	hashed     = flag.Bool("hash", false, "tell the archive's SHA-256")
	refuse     = flag.Bool("refuse", false, "say that the target exists already")
	dieAfter   = flag.Int64("die-after", -1, "end without a word once this many bytes have come")
	stopAfter  = flag.Int64("stop-after", -1, "take nothing more once this many bytes have come, until SIGUSR1")
	serverName = flag.String("tlsservername", "", "name in the daemon's certificate")
	caCert     = flag.String("tlscacert", "", "who signs the daemon's certificate")
	cert       = flag.String("tlscert", "", "certificate of the client")
	key        = flag.String("tlskey", "", "its key")
	opts       = pairs{}
	attrs      = pairs{}
)

type result struct {
	Error    string
	Files    []*sink
	Seconds  float64 // of the whole request
	CPU      float64 // seconds of this process, user and system
	Vertexes []string
}

// sink takes one archive. Each Write is one message.
type sink struct {
	Bytes    int64
	Messages int64
	Largest  int
	Seconds  float64 // from the first message to the end
	SHA256   string
	Metadata map[string]string
	Closed   bool

	file  *os.File
	hash  hash.Hash
	begun time.Time
}

func (s *sink) Write(data []byte) (int, error) {
	if s.Messages == 0 {
		s.begun = time.Now()
	}
	s.Messages++
	s.Bytes += int64(len(data))
	s.Largest = max(s.Largest, len(data))
	if *dieAfter >= 0 && s.Bytes >= *dieAfter {
		os.Exit(7)
	}
	if *stopAfter >= 0 && s.Bytes >= *stopAfter {
		*stopAfter = -1
		syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	}
	if s.hash != nil {
		s.hash.Write(data)
	}
	if s.file != nil {
		return s.file.Write(data)
	}
	return len(data), nil
}

func (s *sink) Close() error {
	if s.Messages > 0 {
		s.Seconds = time.Since(s.begun).Seconds()
	}
	s.Closed = true
	if s.hash != nil {
		s.SHA256 = hex.EncodeToString(s.hash.Sum(nil))
	}
	if s.file != nil {
		return s.file.Close()
	}
	return nil
}

func output(number int, files *[]*sink) filesync.FileOutputFunc {
	var mu sync.Mutex
	return func(metadata map[string]string) (io.WriteCloser, error) {
		if *refuse {
			return nil, nil
		}
		s := &sink{Metadata: metadata}
		if *hashed {
			s.hash = sha256.New()
		}
		if *out != "" {
			name := *out
			if number > 0 {
				name += fmt.Sprintf(".%d", number)
			}
			file, err := os.Create(name)
			if err != nil {
				return nil, err
			}
			s.file = file
		}
		mu.Lock()
		defer mu.Unlock()
		*files = append(*files, s)
		return s, nil
	}
}

func dial(ctx context.Context) (net.Conn, error) {
	where := *addr
	if *sessions != "" {
		where = *sessions
	}
	network, place, _ := strings.Cut(where, "://")
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, place)
}

// upgraded opens a session as Docker's client does.
func upgraded(ctx context.Context, proto string, meta map[string][]string) (net.Conn, error) {
	conn, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	request := &http.Request{
		Method: http.MethodPost,
		URL:    &url.URL{Path: "/session"},
		Host:   "localhost",
		Header: http.Header{"Connection": {"Upgrade"}, "Upgrade": {proto}},
	}
	for name, values := range meta {
		request.Header[http.CanonicalHeaderKey(name)] = values
	}
	if *id != "" {
		request.Header.Set("X-Docker-Expose-Session-Uuid", *id)
	}
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	head := make([]byte, 0, 4096)
	for one := make([]byte, 1); !strings.HasSuffix(string(head), "\r\n\r\n"); head = append(head, one[0]) {
		if _, err := io.ReadFull(conn, one); err != nil {
			return nil, fmt.Errorf("no answer to the upgrade: %w, after %q", err, head)
		}
	}
	if !strings.HasPrefix(string(head), "HTTP/1.1 101 ") {
		rest, _ := io.ReadAll(io.LimitReader(conn, 4096))
		return nil, fmt.Errorf("upgrade refused: %s%s", head, rest)
	}
	return conn, nil
}

// hold keeps a session until standard input ends.
func hold(ctx context.Context, files *[]*sink) error {
	s, err := session.NewSession(ctx, "shared key with ü")
	if err != nil {
		return err
	}
	var targets []filesync.FSSyncTarget
	for number := range *outputs {
		targets = append(targets, filesync.WithFSSync(number, output(number, files)))
	}
	s.Allow(filesync.NewFSSyncTarget(targets...))
	go func() {
		io.Copy(io.Discard, os.Stdin)
		s.Close()
	}()
	if *via == "upgrade" {
		return s.Run(ctx, upgraded)
	}
	c, err := client.New(ctx, *addr)
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Println(s.ID())
	return s.Run(ctx, c.Dialer())
}

// copyOf is a definition of one layer with what is in the directory. BuildKit has local files once for each
// session. Here that is one whose id is the same each time and which nobody has, so the daemon looks for it in
// vain (five seconds), takes the files from the session that asks, and finds them again when asked by others.
func copyOf(ctx context.Context, dir string) (*llb.Definition, map[string]fsutil.FS, error) {
	files, err := fsutil.NewFS(dir)
	if err != nil {
		return nil, nil, err
	}
	of := sha256.Sum256([]byte(dir))
	id := hex.EncodeToString(of[:])
	local := llb.Local("tree", llb.SessionID(id), llb.SharedKeyHint(id))
	contents := &llb.CopyInfo{CopyDirContentsOnly: true}
	def, err := llb.Scratch().File(llb.Copy(local, "/", "/", contents)).Marshal(ctx)
	return def, map[string]fsutil.FS{"tree": files}, err
}

func solve(ctx context.Context, answer *result) error {
	var options []client.ClientOpt
	if *via == "upgrade" {
		options = append(options, client.WithSessionDialer(upgraded))
	}
	if *caCert != "" {
		options = append(options, client.WithServerConfig(*serverName, *caCert), client.WithCredentials(*cert, *key))
	}
	c, err := client.New(ctx, *addr, options...)
	if err != nil {
		return err
	}
	defer c.Close()
	var def *llb.Definition
	if *definition != "" {
		file, err := os.Open(*definition)
		if err != nil {
			return err
		}
		defer file.Close()
		if def, err = llb.ReadFrom(file); err != nil {
			return err
		}
	}
	var mounts map[string]fsutil.FS
	if *copied != "" {
		if def, mounts, err = copyOf(ctx, *copied); err != nil {
			return err
		}
	}
	request := client.SolveOpt{Frontend: *frontend, FrontendAttrs: opts, LocalMounts: mounts}
	for number := range *outputs {
		request.Exports = append(request.Exports, client.ExportEntry{
			Type: client.ExporterTar, Attrs: attrs, Output: output(number, &answer.Files),
		})
	}
	status := make(chan *client.SolveStatus)
	told := make(chan struct{})
	go func() {
		defer close(told)
		for update := range status {
			for _, vertex := range update.Vertexes {
				answer.Vertexes = append(answer.Vertexes, fmt.Sprintf("%s|%t|%s", vertex.Name, vertex.Completed != nil, vertex.Error))
			}
			for _, s := range update.Statuses {
				answer.Vertexes = append(answer.Vertexes, fmt.Sprintf("  %s|%t|%d", s.ID, s.Completed != nil, s.Current))
			}
		}
	}()
	_, err = c.Solve(ctx, def, request, status)
	<-told
	return err
}

func main() {
	flag.Var(opts, "opt", "KEY=VALUE for the frontend (repeatable)")
	flag.Var(attrs, "attr", "KEY=VALUE for the exporter (repeatable)")
	flag.Parse()
	answer := &result{Files: []*sink{}}
	begun := time.Now()
	var err error
	if *id != "" {
		err = hold(context.Background(), &answer.Files)
	} else {
		err = solve(context.Background(), answer)
	}
	if err != nil {
		answer.Error = err.Error()
	}
	answer.Seconds = time.Since(begun).Seconds()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err == nil {
		answer.CPU = float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
	}
	encoded, err := json.Marshal(answer)
	if err != nil {
		err = errors.Join(err, json.NewEncoder(os.Stdout).Encode(map[string]string{"Error": err.Error()}))
		os.Exit(1)
	}
	fmt.Println(string(encoded))
}
