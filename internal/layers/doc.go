// Package layers holds no code but a test: it keeps imports pointing down, functions short, and state out of package
// variables. What it refuses it names by file and line.
package layers
