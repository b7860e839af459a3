package web

import (
	"fmt"
	"html/template"
	"time"
)

// parse reads the templates: each page with the layout around it.
func parse() (map[string]*template.Template, error) {
	pages := map[string]*template.Template{}
	for _, name := range []string{"overview", "messages", "message", "connection", "held", "heldone", "campaigns", "lists", "queue", "learning", "policy", "table", "tokens", "audit", "problem", "signin"} {
		t, err := template.New(name).Funcs(functions()).ParseFS(files, "templates/layout.html", "templates/parts.html", "templates/"+name+".html")
		if err != nil {
			return nil, err
		}
		pages[name] = t
	}

	return pages, nil
}

func functions() template.FuncMap {
	return template.FuncMap{
		"clock":  func(t time.Time) string { return t.Local().Format("15:04:05") },
		"day":    func(t time.Time) string { return t.Local().Format("2 Jan") },
		"when":   when,
		"score":  func(f float64) string { return fmt.Sprintf("%.1f", f) },
		"signed": func(f float64) string { return fmt.Sprintf("%+.1f", f) },
		"size":   size,
		"verdict": func(word string) string {
			return map[string]string{"accept": "accepted", "tag": "tagged", "quarantine": "held", "reject": "refused", "defer": "deferred"}[word]
		},
		"indent": func(depth int) string { return fmt.Sprintf("%*s", 2*depth, "") },
	}
}

// when is a time in full, "" for none.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}

	return t.Local().Format("2 Jan 2006 15:04")
}

func size(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KB", float64(n)/(1<<10))
	}

	return fmt.Sprintf("%d octets", n)
}
