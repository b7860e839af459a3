// Package pgtest starts real PostgreSQL servers for tests: as child processes on high ports of 127.0.0.1, with clusters of
// their own in temporary folders, gone when the test ends. Nothing of the machine's own PostgreSQL is touched.
package pgtest

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"postern/internal/testing/port"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// Password is that of the user "postern", whose name the database has, too. It is odd, so that tests see it quoted.
const Password = "s3cret-p%ss/w@rd"

// Server is one cluster and its process.
type Server struct {
	// URL leads to an empty database, password included.
	URL string

	t    testing.TB
	port int
	dir  string
	args []string
	as   *syscall.SysProcAttr
	cmd  *exec.Cmd
}

// program finds one of PostgreSQL's, or ends the test: with a failure in CI, elsewhere with a skip.
func program(t testing.TB, name string) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name) // Debian keeps the versions side by side
	slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
	if len(found) > 0 {
		return found[len(found)-1]
	}
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(name + " is not here: install the Debian package postgresql")
	}
	t.Skip(name + " is not here: install the Debian package postgresql to run this test")
	return ""
}

func version(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

// Start makes a cluster and starts its server, with more settings as "name=value".
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	initdb := program(t, "initdb")
	dir, err := os.MkdirTemp("/tmp", "pgtest-") // short: the path of a Unix socket has 107 octets at most
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, port: port.Free(t), dir: dir, as: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}}
	t.Cleanup(func() {
		s.Kill()
		_ = os.RemoveAll(dir)
	})
	s.nobodysRoot()
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(Password+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	setup := exec.Command(initdb, "-D", filepath.Join(dir, "cluster"), "-U", "postern", "-A", "scram-sha-256", "--pwfile", password, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
	setup.SysProcAttr, setup.Dir = s.as, dir
	if out, err := setup.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	s.args = []string{"-D", filepath.Join(dir, "cluster"), "-p", strconv.Itoa(s.port)}
	for _, one := range append([]string{"listen_addresses=127.0.0.1", "unix_socket_directories=" + dir, "fsync=off", "logging_collector=off"}, settings...) {
		s.args = append(s.args, "-c", one)
	}
	s.URL = s.url("postgres")
	s.Restart()
	s.Do("CREATE DATABASE postern")
	s.URL = s.url("postern")
	return s
}

func (s *Server) url(database string) string {
	return fmt.Sprintf("postgres://postern:s3cret-p%%25ss%%2Fw%%40rd@127.0.0.1:%d/%s?sslmode=disable", s.port, database)
}

// Database makes another empty database and gives its URL. Names are of letters and digits.
func (s *Server) Database(name string) string {
	s.t.Helper()
	s.Do("CREATE DATABASE " + name)
	return s.url(name)
}

// In gives a server whose Do speaks to another database.
func (s *Server) In(url string) *Server {
	other := *s
	other.URL = url
	return &other
}

// nobodysRoot lets root's tests run the server as the user "postgres", since it refuses to be root.
func (s *Server) nobodysRoot() {
	if os.Geteuid() != 0 {
		return
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		s.t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	s.as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	if err := os.Chown(s.dir, uid, gid); err != nil {
		s.t.Fatal(err)
	}
}

// Restart starts a server that was stopped or killed, on the same port and with what it had.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	program := program(s.t, "postgres")
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if s.cmd == nil {
			log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
			if err != nil {
				s.t.Fatal(err)
			}
			s.cmd = exec.Command(program, s.args...)
			s.cmd.SysProcAttr, s.cmd.Dir, s.cmd.Stderr = s.as, s.dir, log
			err = s.cmd.Start()
			_ = log.Close()
			if err != nil {
				s.t.Fatal(err)
			}
		}
		if s.answers() {
			return
		}
		// one that was killed leaves children for a moment, and the new one refuses to start beside them
		var gone syscall.WaitStatus
		if pid, _ := syscall.Wait4(s.cmd.Process.Pid, &gone, syscall.WNOHANG, nil); pid != 0 {
			s.cmd = nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	s.t.Fatalf("PostgreSQL on port %d does not answer after 30 s\n%s", s.port, log)
}

func (s *Server) answers() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	db, err := sql.Open("pgx", s.url("postgres"))
	if err != nil {
		return false
	}
	defer db.Close()
	return db.PingContext(ctx) == nil
}

// Stop shuts the server down as an admin would, "fast": who is connected is thrown out.
func (s *Server) Stop() { s.end(syscall.SIGINT) }

// Kill kills the server with all its processes; a second time does nothing.
func (s *Server) Kill() {
	if s.cmd != nil {
		s.signal(syscall.SIGKILL)
	}
	s.end(syscall.SIGKILL)
}

func (s *Server) end(how syscall.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(how)
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Freeze makes all processes stand still; the port still takes connections. Continue ends it.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Continue ends a Freeze.
func (s *Server) Continue() { s.signal(syscall.SIGCONT) }

// signal reaches the server's own children, too, by their ids.
func (s *Server) signal(what syscall.Signal) {
	pid := s.cmd.Process.Pid
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	_ = syscall.Kill(pid, what)
	for child := range strings.FieldsSeq(string(children)) {
		if n, err := strconv.Atoi(child); err == nil && n > 1 {
			_ = syscall.Kill(n, what)
		}
	}
}

// Do runs a statement and returns the first column of its first row as text, "" if there is none.
func (s *Server) Do(text string, args ...any) string {
	s.t.Helper()
	db, err := sql.Open("pgx", s.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(text, args...)
	if err != nil {
		s.t.Fatalf("%s: %v", text, err)
	}
	defer rows.Close()
	var first any
	if rows.Next() {
		if err := rows.Scan(&first); err != nil {
			s.t.Fatalf("%s: %v", text, err)
		}
	}
	if err := rows.Err(); err != nil {
		s.t.Fatalf("%s: %v", text, err)
	}
	if first == nil {
		return ""
	}
	return fmt.Sprint(first)
}
