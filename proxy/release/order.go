// Package release lets held mail go: it leaves once, whoever asks and however often.
package release

import (
	"errors"

	"postern/internal/mail"
	"postern/policy/records/ledger"
)

// Order is somebody's wish to have a held message.
type Order struct {
	ID string
	// By is who wishes it, for the record. Admin says that it is an admin of the whole gateway: what he teaches counts for all.
	By    string
	Admin bool
	// Recipients are those whose copies go; none are all that are held. To is another address instead.
	Recipients []mail.Address
	To         mail.Address
	// Allow lets the sender's mail in from now on, if it is authentic; Learn takes the release as a lesson.
	Allow, Learn bool
	// NoWait does not wait for the next hop's answer.
	NoWait bool
}

// Released says what was done.
type Released struct {
	ID         string   `json:"id"`
	Recipients []string `json:"recipients"`
	// Learned says that it was taken as a lesson, Allowed are the ids of the entries that allow the sender.
	Learned bool     `json:"learned"`
	Allowed []string `json:"allowed,omitempty"`
	// Answers are what the next hop said, for each recipient, if it said so within a few seconds.
	Answers []Answer `json:"answers,omitempty"`
	// Note says what could not be done beside the release.
	Note string `json:"note,omitempty"`
	// Unattended says that no gateway runs: it is delivered once one does.
	Unattended bool `json:"unattended,omitempty"`
}

// Answer is what became of one recipient's copy so far.
type Answer struct {
	Recipient string `json:"recipient"`
	// Fate is delivered, refused or deferred, "" if the next hop has not answered yet; Reply are its words.
	Fate  ledger.Word `json:"fate,omitempty"`
	Reply string      `json:"reply,omitempty"`
	// Text is all of it in plain words.
	Text string `json:"text"`
}

// Errors of a release.
var (
	ErrNoWayOut = errors.New("there is no next hop for this address: its domain is not one of ours, and [outbound] names no server")
	ErrNoSender = errors.New("the message names no sender that could be allowed")
)
