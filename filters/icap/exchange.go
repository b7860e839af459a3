package icap

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// result is what an ICAP server made of a content.
type result struct {
	// virus names what it found, "" for nothing.
	virus string
	// changed says that it gave back something else than it got.
	changed bool
}

// Limits of what a server may answer.
const (
	maxHeader = 64 << 10
	maxBody   = 100 << 20
)

// exchange has one content looked at, over a connection of its own.
type exchange struct {
	url    *url.URL
	method string // "REQMOD" or "RESPMOD"
	client string // the client's address
	id     string
}

func (x exchange) do(ctx context.Context, content io.Reader, size int64) (result, error) {
	d := net.Dialer{Timeout: 5 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", hostPort(x.url))
	if err != nil {
		return result{}, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return result{}, err
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	type sent struct {
		sum [sha256.Size]byte
		err error
	}
	// a server may answer before it has read all, and would then wait for us to read
	done := make(chan sent, 1)
	go func() {
		sum, err := x.send(conn, content, size)
		done <- sent{sum, err}
	}()
	in := bufio.NewReader(&limited{conn, maxHeader + maxBody})
	status, header, err := answer(in)
	if err != nil {
		_ = conn.Close()
		return result{}, errors.Join(err, (<-done).err)
	}
	r := result{virus: virusOf(header)}
	switch {
	case r.virus != "" || status == 204: // RFC 3507 section 4.6: no modifications needed
		_ = conn.Close()
		<-done
		return r, nil
	case status != 200:
		_ = conn.Close()
		<-done
		return r, fmt.Errorf("the server answered %d", status)
	}
	httpStatus, sum, err := body(in, header.Get("Encapsulated"))
	if err != nil {
		_ = conn.Close()
		return r, errors.Join(err, (<-done).err)
	}
	ours := <-done
	if ours.err != nil {
		return r, ours.err
	}
	r.changed = httpStatus >= 400 || sum != ours.sum
	return r, nil
}

func hostPort(u *url.URL) string {
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), "1344") // RFC 3507 section 4.2
	}
	return u.Host
}

// send writes the request: the message as the body of an HTTP request or answer (RFC 3507 sections 4.8 and 4.9).
func (x exchange) send(w io.Writer, content io.Reader, size int64) (sum [sha256.Size]byte, err error) {
	reqHeader := "GET http://mail.invalid/" + x.id + " HTTP/1.1\r\nHost: mail.invalid\r\n\r\n"
	inner := "HTTP/1.1 200 OK\r\nContent-Type: message/rfc822\r\nContent-Length: " + strconv.FormatInt(size, 10) + "\r\n\r\n"
	encapsulated := fmt.Sprintf("req-hdr=0, res-hdr=%d, res-body=%d", len(reqHeader), len(reqHeader)+len(inner))
	if x.method == "REQMOD" {
		reqHeader = "POST http://mail.invalid/" + x.id + " HTTP/1.1\r\nHost: mail.invalid\r\nContent-Type: message/rfc822\r\nContent-Length: " +
			strconv.FormatInt(size, 10) + "\r\n\r\n"
		inner, encapsulated = "", fmt.Sprintf("req-hdr=0, req-body=%d", len(reqHeader))
	}
	out := bufio.NewWriterSize(w, 64<<10)
	fmt.Fprintf(out, "%s %s ICAP/1.0\r\nHost: %s\r\nUser-Agent: Postern\r\nAllow: 204\r\nConnection: close\r\nX-Client-IP: %s\r\nEncapsulated: %s\r\n\r\n%s%s",
		x.method, x.url, x.url.Host, x.client, encapsulated, reqHeader, inner)
	hash := sha256.New()
	chunks := httputil.NewChunkedWriter(out)
	if _, err = io.Copy(chunks, io.TeeReader(content, hash)); err != nil {
		return sum, err
	}
	if err = chunks.Close(); err != nil {
		return sum, err
	}
	if _, err = out.WriteString("\r\n"); err != nil {
		return sum, err
	}
	hash.Sum(sum[:0])
	return sum, out.Flush()
}

// answer reads status line and header of an answer, those of a "100 Continue" skipped.
func answer(in *bufio.Reader) (status int, header textproto.MIMEHeader, err error) {
	for range 3 {
		text := textproto.NewReader(in)
		line, err := text.ReadLine()
		if err != nil {
			return 0, nil, eof(err)
		}
		version, rest, _ := strings.Cut(line, " ")
		code, _, _ := strings.Cut(rest, " ")
		status, err = strconv.Atoi(code)
		if version != "ICAP/1.0" || err != nil || len(code) != 3 {
			return 0, nil, fmt.Errorf("no ICAP answer: %.80q", line)
		}
		if header, err = text.ReadMIMEHeader(); err != nil {
			return 0, nil, eof(err)
		}
		if status != 100 {
			return status, header, nil
		}
	}
	return 0, nil, errors.New("the server only says \"continue\"")
}

// virusOf reads the fields that servers use to say what they found: draft-stecher-icap-subid, X-Infection-Found;
// Symantec's X-Violations-Found; others' X-Virus-ID.
func virusOf(h textproto.MIMEHeader) string {
	if found := h.Get("X-Infection-Found"); found != "" {
		for part := range strings.SplitSeq(found, ";") {
			if name, ok := strings.CutPrefix(strings.TrimSpace(part), "Threat="); ok && name != "" {
				return name
			}
		}
		return "infection found"
	}
	for _, field := range []string{"X-Virus-Id", "X-Virus-Name", "X-Violations-Found"} {
		value := strings.TrimSpace(h.Get(field))
		if value != "" && value != "0" && !strings.EqualFold(value, "no threats") {
			return value
		}
	}
	return ""
}

// body reads the HTTP message within an answer and gives its status (0 for a request) and what its body hashes to.
func body(in *bufio.Reader, encapsulated string) (status int, sum [sha256.Size]byte, err error) {
	status, hasBody, err := headers(in, encapsulated)
	if err != nil {
		return 0, sum, err
	}
	if !hasBody {
		return status, sha256.Sum256(nil), nil
	}
	hash := sha256.New()
	n, err := io.Copy(hash, io.LimitReader(httputil.NewChunkedReader(in), maxBody+1))
	if err != nil {
		return 0, sum, eof(err)
	}
	if n > maxBody {
		return 0, sum, errors.New("the answer is too long")
	}
	hash.Sum(sum[:0])
	return status, sum, nil
}

// headers reads what stands before the body of an HTTP message (RFC 3507 section 4.4.1): its status, and whether it has a body.
func headers(in *bufio.Reader, encapsulated string) (status int, hasBody bool, err error) {
	for part := range strings.SplitSeq(encapsulated, ",") {
		name, _, _ := strings.Cut(strings.TrimSpace(part), "=")
		text := textproto.NewReader(in)
		switch name {
		case "req-hdr":
			if _, err := httpHeader(text); err != nil {
				return 0, false, err
			}
		case "res-hdr":
			line, err := httpHeader(text)
			if err != nil {
				return 0, false, err
			}
			_, rest, _ := strings.Cut(line, " ")
			if status, err = strconv.Atoi(rest[:min(3, len(rest))]); err != nil {
				return 0, false, fmt.Errorf("no HTTP answer: %.80q", line)
			}
		case "req-body", "res-body", "opt-body":
			hasBody = true
		case "null-body":
		default:
			return 0, false, fmt.Errorf("Encapsulated names %.40q", name)
		}
	}
	return status, hasBody, nil
}

// httpHeader reads the header of an HTTP message and gives its first line.
func httpHeader(text *textproto.Reader) (line string, err error) {
	if line, err = text.ReadLine(); err != nil {
		return "", eof(err)
	}
	if _, err = text.ReadMIMEHeader(); err != nil {
		return "", eof(err)
	}
	return line, nil
}

func eof(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// limited ends with an error, not with EOF, once so much was read.
type limited struct {
	r    io.Reader
	left int64
}

// Read implements io.Reader.
func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errors.New("the answer is too long")
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

// options asks whether the service is there and does what is wanted: RFC 3507 section 4.10.
func (x exchange) options(ctx context.Context) error {
	d := net.Dialer{Timeout: 5 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", hostPort(x.url))
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	var ask bytes.Buffer
	fmt.Fprintf(&ask, "OPTIONS %s ICAP/1.0\r\nHost: %s\r\nUser-Agent: Postern\r\nConnection: close\r\nEncapsulated: null-body=0\r\n\r\n", x.url, x.url.Host)
	if _, err := conn.Write(ask.Bytes()); err != nil {
		return err
	}
	status, header, err := answer(bufio.NewReader(&limited{conn, maxHeader}))
	switch methods := header.Get("Methods"); {
	case err != nil:
		return err
	case status != http.StatusOK:
		return fmt.Errorf("the server answered %d to OPTIONS", status)
	case methods != "" && !strings.Contains(methods, x.method):
		return fmt.Errorf("the service does %s and not %s: set method", methods, x.method)
	}
	return nil
}
