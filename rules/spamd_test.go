package rules

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/mimeview"
)

// processTime is the processor time of the whole process, the garbage collector's too.
func processTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// childTime is the processor time of another process, which the kernel counts in hundredths of a second.
func childTime(t *testing.T, pid string) time.Duration {
	t.Helper()
	raw, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+2:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// askSpamd has spamd name the rules that hold.
func askSpamd(t *testing.T, address string, message []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "SYMBOLS SPAMC/1.5\r\nContent-length: %d\r\n\r\n%s", len(message), message)
	_ = conn.(*net.TCPConn).CloseWrite()
	answer, err := io.ReadAll(bufio.NewReader(conn))
	if err != nil || !strings.Contains(string(answer), " EX_OK") {
		t.Fatalf("spamd says %q, %v", answer, err)
	}
}

// TestBesideSpamd measures the processor time of a whole check here and in spamd, in turns of 50 messages. RULES_SPAMD is
// the address of a spamd with one child, RULES_SPAMD_PID the number of that child. The first RULES_WARM messages warm both up.
func TestBesideSpamd(t *testing.T) {
	address, pid := os.Getenv("RULES_SPAMD"), os.Getenv("RULES_SPAMD_PID")
	if address == "" || pid == "" {
		t.Skip("RULES_SPAMD and RULES_SPAMD_PID name no spamd")
	}
	n, _ := strconv.Atoi(envOr("RULES_MESSAGES", "450"))
	seed, _ := strconv.ParseUint(envOr("RULES_SEED", "1"), 10, 64)
	var files, texts [][]byte
	for _, name := range mixed(corpus(t, n, seed)) {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files, texts = append(files, raw), append(texts, []byte(crlf(string(raw))))
	}
	set, _ := ParseWith(Options{}, stockFiles(t)...)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	var ours, theirs time.Duration
	var times []time.Duration
	warm, _ := strconv.Atoi(envOr("RULES_WARM", "150"))
	measured := 0
	for from := 0; from < len(texts); from += 50 {
		to := min(from+50, len(texts))
		counts := from >= warm // the automata and what Perl compiles late are there by then
		before := childTime(t, pid)
		for _, raw := range files[from:to] {
			askSpamd(t, address, raw)
		}
		if counts {
			theirs += childTime(t, pid) - before
			measured += to - from
		}
		start := processTime()
		for _, text := range texts[from:to] {
			one := threadTime()
			view := mimeview.New(mail.NewMessage(text), mimeview.Options{})
			set.Run(Input{View: view})
			view.Close()
			if counts {
				times = append(times, threadTime()-one)
			}
		}
		if counts {
			ours += processTime() - start
		}
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	octets, flushes, gaveUp := set.tables()
	each := time.Duration(measured)
	t.Logf("%d messages: spamd %v, here %v a message: a %.1fth", measured, theirs/each, ours/each, float64(theirs)/float64(ours))
	t.Logf("here p50 %v, p95 %v, p99 %v, most %v; tables %d KiB, %d flushes, %d passes given up", quantile(times, .5), quantile(times, .95), quantile(times, .99), times[len(times)-1], octets>>10, flushes, gaveUp)
}

// mixed takes names from both halves in turns, so that both folders are warmed up on and measured.
func mixed(names []string) []string {
	half := (len(names) + 1) / 2
	var all []string
	for i := range half {
		all = append(all, names[i])
		if half+i < len(names) {
			all = append(all, names[half+i])
		}
	}
	return all
}
