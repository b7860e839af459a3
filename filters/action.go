package filters

// Action is a symbol's action regardless of the score: by its Spec, or by [actions] of the policy. Its effect is in
// policy's table.
type Action string

// The actions. NoAction is a symbol's that only has a score; ActionNone takes a built-in action away.
const (
	NoAction            Action = ""
	ActionAccept        Action = "accept" // a rule's only
	ActionReject        Action = "reject"
	ActionDefer         Action = "defer"
	ActionDeferIfPermit Action = "defer_if_permit"
	ActionDrop          Action = "drop"
	ActionTarpit        Action = "tarpit"
	ActionQuarantine    Action = "quarantine"
	ActionStrip         Action = "strip"
	ActionDefang        Action = "defang"
	ActionTag           Action = "tag"
	ActionNone          Action = "none"
)
