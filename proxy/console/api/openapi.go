package api

import (
	"regexp"
	"strings"
)

// OpenAPI describes the verbs in the form of OpenAPI 3.1, drawn from the table that serves them.
func OpenAPI(verbs []Verb) map[string]any {
	paths := map[string]map[string]any{}
	inPath := regexp.MustCompile(`\{([a-z]+)\}`)
	for _, v := range verbs {
		var roles []string
		for _, r := range v.Roles {
			roles = append(roles, string(r))
		}
		op := map[string]any{
			"summary": v.Help, "description": "Roles: " + strings.Join(roles, ", ") + ".", "x-roles": roles,
			"responses": map[string]any{"200": described("done"), "204": described("done, nothing to say"), "default": described("a problem: RFC 9457")},
		}
		var params []any
		for _, m := range inPath.FindAllStringSubmatch(v.Path, -1) {
			params = append(params, map[string]any{"name": m[1], "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
		}
		for _, p := range v.Query {
			params = append(params, map[string]any{"name": p.Name, "in": "query", "description": p.Help, "schema": map[string]any{"type": p.Type}})
		}
		if len(params) > 0 {
			op["parameters"] = params
		}
		if len(v.Body) > 0 {
			properties := map[string]any{}
			for _, p := range v.Body {
				schema := map[string]any{"type": p.Type, "description": p.Help}
				if p.Type == "array" {
					schema["items"] = map[string]any{"type": "string"}
				}
				properties[p.Name] = schema
			}
			op["requestBody"] = map[string]any{"content": map[string]any{"application/json": map[string]any{
				"schema": map[string]any{"type": "object", "properties": properties, "additionalProperties": false}}}}
		}
		if paths[prefix+v.Path] == nil {
			paths[prefix+v.Path] = map[string]any{}
		}
		paths[prefix+v.Path][strings.ToLower(v.Method)] = op
	}
	return map[string]any{
		"openapi": "3.1.0", "info": map[string]any{"title": "Postern", "version": "1"}, "paths": paths,
		"security":   []any{map[string]any{"token": []string{}}},
		"components": map[string]any{"securitySchemes": map[string]any{"token": map[string]any{"type": "http", "scheme": "bearer"}}},
	}
}

func described(text string) map[string]any { return map[string]any{"description": text} }
