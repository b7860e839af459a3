// Package redistest starts real Redis servers for tests: as child processes on high ports of 127.0.0.1, with folders of
// their own, gone when the test ends.
package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/internal/testing/port"
)

// Server is one process.
type Server struct {
	Addr string

	t    testing.TB
	port int
	dir  string
	args []string
	cmd  *exec.Cmd
	ask  *redis.Client
}

// program finds redis-server, or ends the test: with a failure in CI, elsewhere with a skip.
func program(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("redis-server is not here: install the Debian package redis-server")
	}
	t.Skip("redis-server is not here: install the Debian package redis-server to run this test")
	return ""
}

// Start starts a server that keeps nothing on disk, with more arguments as on its command line.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, port: freePort(t), dir: t.TempDir()}
	s.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
	s.args = append([]string{"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--appendonly", "no",
		"--daemonize", "no", "--logfile", filepath.Join(s.dir, "log"), "--enable-debug-command", "local"}, args...)
	s.ask = redis.NewClient(&redis.Options{Addr: s.Addr, Protocol: 2, DisableIdentity: true, MaxRetries: 3, DialTimeout: time.Second, ReadTimeout: 3 * time.Second})
	t.Cleanup(func() {
		s.Kill()
		s.ask.Close()
	})
	s.Restart()
	return s
}

// Restart starts a server that was killed, on the same port.
func (s *Server) Restart() {
	s.t.Helper()
	s.cmd = exec.Command(program(s.t), s.args...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.until("answers", func() bool { return s.ask.Ping(context.Background()).Err() == nil })
}

// Kill kills the process; a second time does nothing.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	s.Continue()
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Stop makes the process stand still; its port still takes connections.
func (s *Server) Stop() { _ = s.cmd.Process.Signal(syscall.SIGSTOP) }

// Continue ends a Stop.
func (s *Server) Continue() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }

// Do sends one command and returns its answer as text.
func (s *Server) Do(args ...any) string {
	s.t.Helper()
	answer, err := s.ask.Do(context.Background(), args...).Result()
	if err != nil {
		s.t.Fatalf("redis %s: %v: %v", s.Addr, args, err)
	}
	return fmt.Sprint(answer)
}

func (s *Server) until(what string, is func() bool) {
	s.t.Helper()
	for range 300 {
		if is() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	s.t.Fatalf("redis %s: not so after 15 s: %s\n%s", s.Addr, what, log)
}

// freePort finds a port that is free and whose bus port for a cluster, 10000 above, is free too.
func freePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		if n := port.Free(t); n >= 22000 && listens(n+10000) { // above those that tests get
			return n
		}
	}
	t.Fatal("no free port")
	return 0
}

func listens(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// Watched is a master with two replicas and three sentinels.
type Watched struct {
	Name      string
	Sentinels []string
	Servers   []*Server // the first is the master to begin with
}

// StartWatched starts all of them.
func StartWatched(t testing.TB) *Watched {
	t.Helper()
	w := &Watched{Name: "mail"}
	master := Start(t)
	w.Servers = append(w.Servers, master)
	for range 2 {
		w.Servers = append(w.Servers, Start(t, "--replicaof", "127.0.0.1 "+strconv.Itoa(master.port)))
	}
	master.until("two replicas", func() bool { return strings.Contains(master.Do("INFO", "replication"), "connected_slaves:2") })
	for _, replica := range w.Servers[1:] {
		replica.until("in step", func() bool {
			return strings.Contains(replica.Do("INFO", "replication"), "master_link_status:up")
		})
	}
	var last *Server
	for range 3 {
		last = startSentinel(t, w.Name, master.port)
		w.Sentinels = append(w.Sentinels, last.Addr)
	}
	last.until("knows the others", func() bool {
		text := last.Do("INFO", "sentinel")
		return strings.Contains(text, "slaves=2") && strings.Contains(text, "sentinels=3")
	})
	return w
}

func startSentinel(t testing.TB, name string, master int) *Server {
	t.Helper()
	s := &Server{t: t, port: freePort(t), dir: t.TempDir()}
	s.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
	file := filepath.Join(s.dir, "sentinel.conf")
	text := fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\nlogfile %s\n", s.port, s.dir, filepath.Join(s.dir, "log")) +
		fmt.Sprintf("sentinel monitor %[1]s 127.0.0.1 %[2]d 2\nsentinel down-after-milliseconds %[1]s 500\nsentinel failover-timeout %[1]s 3000\n", name, master)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.args = []string{file, "--sentinel"}
	s.ask = redis.NewClient(&redis.Options{Addr: s.Addr, Protocol: 2, DisableIdentity: true, DialTimeout: time.Second})
	t.Cleanup(func() {
		s.Kill()
		s.ask.Close()
	})
	s.Restart()
	return s
}

// Cluster is three masters without replicas.
type Cluster struct {
	Nodes []*Server
}

const slots = 16384

// StartCluster starts them and waits until they agree.
func StartCluster(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{}
	for i := range 3 {
		s := Start(t, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "2000")
		s.Do("CLUSTER", "ADDSLOTSRANGE", i*slots/3, (i+1)*slots/3-1)
		s.Do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
		c.Nodes = append(c.Nodes, s)
	}
	for _, s := range c.Nodes[1:] {
		c.Nodes[0].Do("CLUSTER", "MEET", "127.0.0.1", s.port)
	}
	for _, s := range c.Nodes {
		s.until("cluster is ok", func() bool {
			text := s.Do("CLUSTER", "INFO")
			return strings.Contains(text, "cluster_state:ok") && strings.Contains(text, "cluster_known_nodes:3")
		})
	}
	return c
}

// Addrs are the nodes' addresses.
func (c *Cluster) Addrs() []string {
	var all []string
	for _, s := range c.Nodes {
		all = append(all, s.Addr)
	}
	return all
}

// MoveSlotOf moves the slot of a key to the next node, as an admin would, key by key. In the middle of it, while the
// slot is open on both sides, it calls meanwhile.
func (c *Cluster) MoveSlotOf(key string, meanwhile func()) {
	slot, _ := strconv.Atoi(c.Nodes[0].Do("CLUSTER", "KEYSLOT", key))
	from := c.Nodes[0]
	next := 0
	for i, s := range c.Nodes {
		if i*slots/3 <= slot && slot <= (i+1)*slots/3-1 {
			from, next = s, (i+1)%3
		}
	}
	to := c.Nodes[next]
	fromID, toID := from.Do("CLUSTER", "MYID"), to.Do("CLUSTER", "MYID")
	to.Do("CLUSTER", "SETSLOT", slot, "IMPORTING", fromID)
	from.Do("CLUSTER", "SETSLOT", slot, "MIGRATING", toID)
	meanwhile()
	for {
		keys, err := from.ask.ClusterGetKeysInSlot(context.Background(), slot, 100).Result()
		if err != nil {
			from.t.Fatal(err)
		}
		if len(keys) == 0 {
			break
		}
		for _, k := range keys {
			from.Do("MIGRATE", "127.0.0.1", to.port, k, 0, 1000)
		}
	}
	meanwhile()
	for _, s := range []*Server{to, from, c.Nodes[3-next-indexOf(c.Nodes, from)]} {
		s.Do("CLUSTER", "SETSLOT", slot, "NODE", toID)
	}
}

func indexOf(all []*Server, one *Server) int {
	for i, s := range all {
		if s == one {
			return i
		}
	}
	return -1
}
