// Command serve is BuildKit's tar exporter behind the same doors as `tarcast serve`: the original's session
// manager, exporter and wire, asked by the same client. A reference is a directory that FrontendAttrs names.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/exporter"
	tarexporter "github.com/moby/buildkit/exporter/tar"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/grpchijack"
	"github.com/moby/buildkit/snapshot"
	"github.com/moby/buildkit/util/grpcerrors"
	"github.com/moby/sys/user"
	"google.golang.org/grpc"
)

// ref is as much of a reference as the exporter uses.
type ref struct {
	cache.ImmutableRef
	dir string
}

func (r *ref) Mount(context.Context, bool, session.Group) (snapshot.Mountable, error) {
	return mountable{r.dir}, nil
}

type mountable struct{ dir string }

// A bind mount that may be written to is used in place, without mounting anything.
func (m mountable) Mount() ([]mount.Mount, func() error, error) {
	mounts := []mount.Mount{{Type: "bind", Source: m.dir}}
	return mounts, func() error { return nil }, nil
}

func (m mountable) IdentityMapping() *user.IdentityMapping { return nil }

type control struct {
	controlapi.UnimplementedControlServer
	sessions *session.Manager
	mu       sync.Mutex
	done     map[string]chan struct{} // by the reference of the request
}

func (c *control) Session(stream controlapi.Control_SessionServer) error {
	conn, closed, opts := grpchijack.Hijack(stream)
	defer conn.Close()
	ctx, cancel := context.WithCancel(stream.Context())
	go func() {
		<-closed
		cancel()
	}()
	return c.sessions.HandleConn(ctx, conn, opts)
}

func (c *control) end(name string) chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done[name] == nil {
		c.done[name] = make(chan struct{})
	}
	return c.done[name]
}

func (c *control) Solve(ctx context.Context, request *controlapi.SolveRequest) (*controlapi.SolveResponse, error) {
	defer close(c.end(request.Ref))
	made, err := tarexporter.New(tarexporter.Opt{SessionManager: c.sessions})
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	for number, wanted := range request.Exporters {
		instance, err := made.Resolve(ctx, number, wanted.Attrs)
		if err != nil {
			return nil, err
		}
		source := &exporter.Source{Ref: &ref{dir: request.FrontendAttrs["tree"]}}
		if _, _, _, err := instance.Export(ctx, source, exporter.ExportBuildInfo{SessionID: request.Session}); err != nil {
			return nil, err
		}
	}
	return &controlapi.SolveResponse{ExporterResponse: map[string]string{"seconds": fmt.Sprint(time.Since(begun).Seconds())}}, nil
}

func (c *control) Status(request *controlapi.StatusRequest, stream controlapi.Control_StatusServer) error {
	select {
	case <-c.end(request.Ref):
	case <-stream.Context().Done():
	}
	return nil
}

func main() {
	listen := flag.String("listen", "", "path of the socket for gRPC")
	upgrade := flag.String("upgrade", "", "path of the socket for HTTP")
	flag.Parse()
	sessions, err := session.NewManager()
	if err != nil {
		fail(err)
	}
	http.HandleFunc("/session", func(w http.ResponseWriter, r *http.Request) {
		if err := sessions.HandleHTTPRequest(r.Context(), w, r); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	})
	for _, path := range []string{*listen, *upgrade} {
		listener, err := net.Listen("unix", path)
		if err != nil {
			fail(err)
		}
		if path == *listen {
			server := grpc.NewServer(grpc.UnaryInterceptor(grpcerrors.UnaryServerInterceptor),
				grpc.StreamInterceptor(grpcerrors.StreamServerInterceptor))
			controlapi.RegisterControlServer(server, &control{sessions: sessions, done: map[string]chan struct{}{}})
			go func() { fail(server.Serve(listener)) }()
		} else {
			go func() { fail(http.Serve(listener, nil)) }()
		}
	}
	fmt.Println("ready")
	select {}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
