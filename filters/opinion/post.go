package opinion

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// post asks the server: https://platform.openai.com/docs/api-reference/chat/create.
func (f *filter) post(ctx context.Context, body []byte) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, f.settings.URL, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("Content-Type", "application/json")
	if f.key != "" {
		r.Header.Set("Authorization", "Bearer "+f.key)
	}
	resp, err := f.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return answer{}, fmt.Errorf("the server answered %d", resp.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return answer{}, err
	}

	return read(text)
}

// read takes the one object out of a completion. Models like to put words or a code fence around it.
func read(completion []byte) (a answer, err error) {
	var c struct {
		Choices []struct {
			Message struct {
				Content string `json:"content"`
			} `json:"message"`
		} `json:"choices"`
	}
	if err := json.Unmarshal(completion, &c); err != nil {
		return a, fmt.Errorf("the answer is no completion: %w", err)
	}
	if len(c.Choices) == 0 {
		return a, errors.New("the answer holds no choice")
	}
	content := c.Choices[0].Message.Content
	from, to := strings.IndexByte(content, '{'), strings.LastIndexByte(content, '}')
	if from < 0 || to < from {
		return a, fmt.Errorf("the model said no object: %.100q", content)
	}
	if err := json.Unmarshal([]byte(content[from:to+1]), &a); err != nil {
		return a, fmt.Errorf("the model's object can't be read: %w", err)
	}
	switch a.Verdict {
	case "phishing", "fraud", "honest", "unsure":
		return a, nil
	}

	return answer{}, fmt.Errorf("the model's verdict is %.40q", a.Verdict)
}

// Ping implements filters.Server: whatever the server answers to its list of models, it is there.
// https://platform.openai.com/docs/api-reference/models/list.
func (f *filter) Ping(ctx context.Context) error {
	models := strings.TrimSuffix(f.settings.URL, "/chat/completions") + "/models"
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, models, nil)
	if err != nil {
		return err
	}
	if f.key != "" {
		r.Header.Set("Authorization", "Bearer "+f.key)
	}
	resp, err := f.client.Do(r)
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusInternalServerError {
		err = fmt.Errorf("the server answered %d", resp.StatusCode)
	}

	return errors.Join(err, resp.Body.Close())
}

// Address implements filters.Server.
func (f *filter) Address() string { return f.settings.URL }

// Required implements filters.Server: mail never waits for an opinion.
func (f *filter) Required() bool { return false }
