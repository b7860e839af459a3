// Package dns is the one resolver: the servers the admin names (or the system's), a cache that honours TTLs, one query
// in flight per question, errors as *net.DNSError so that every user tells "no such name" from "no answer".
package dns

// Resolver asks.
type Resolver struct{}
