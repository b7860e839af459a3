package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Direct carries requests to a handler of the same process.
type Direct struct {
	Handler http.Handler
	// Client is where the requests come from, as an address and a port; "" for nowhere.
	Client string
}

// RoundTrip implements http.RoundTripper.
func (d Direct) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.RemoteAddr = d.Client
	if r.Body == nil {
		r.Body = http.NoBody
	}

	body, out := io.Pipe()
	w := &answering{header: http.Header{}, out: out, begun: make(chan struct{})}
	go func() {
		d.Handler.ServeHTTP(w, r)
		w.WriteHeader(http.StatusOK) // where the handler said nothing
		_ = out.Close()              // a pipe's end never fails
	}()
	<-w.begun

	return &http.Response{StatusCode: w.status, Header: w.sent, Body: body, Request: r, ContentLength: -1}, nil
}

// answering is the answer of a Direct on its way.
type answering struct {
	header, sent http.Header
	status       int
	out          *io.PipeWriter
	begun        chan struct{}
}

// Header implements http.ResponseWriter.
func (w *answering) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *answering) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	w.status, w.sent = status, w.header.Clone()
	close(w.begun)
}

// Write implements http.ResponseWriter.
func (w *answering) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.out.Write(p)
}

// maxAnswer bounds an answer in JSON, in octets.
const maxAnswer = 64 << 20

// Ask has a verb done: path is that of the table, body an object or nil. The answer is decoded into a pointer, or
// written as it comes to an io.Writer. What the table refuses is a Problem; every other error means that no gateway
// could be asked.
func Ask(ctx context.Context, by http.RoundTripper, method, path string, body, answer any) error {
	var sent io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://postern"+prefix+path, sent)
	if err != nil {
		return err
	}
	got, err := by.RoundTrip(r)
	if err != nil {
		return err
	}
	defer func() { _ = got.Body.Close() }() // it was read

	if got.StatusCode >= http.StatusMultipleChoices { // a path that the table has not, or a problem
		return problemIn(got)
	}
	if into, ok := answer.(io.Writer); ok {
		n, err := io.Copy(into, got.Body)
		if length := got.Header.Get("Content-Length"); err == nil && length != "" && length != strconv.FormatInt(n, 10) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	text, err := io.ReadAll(io.LimitReader(got.Body, maxAnswer))
	if err != nil || answer == nil || len(text) == 0 {
		return err
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("the gateway's answer can't be read: %w", err)
	}
	return nil
}

func problemIn(got *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(got.Body, 64<<10))
	if !strings.HasPrefix(got.Header.Get("Content-Type"), "application/problem+json") {
		return errors.Join(NotFound("there is no such thing"), err)
	}
	var p Problem
	if err := json.Unmarshal(text, &p); err != nil {
		return fmt.Errorf("the gateway's answer can't be read: %w", err)
	}
	p.Status = got.StatusCode
	return p
}
