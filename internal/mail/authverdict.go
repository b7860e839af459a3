package mail

// AuthMethod is a way to authenticate mail that Authentication-Results knows: RFC 8601 section 2.7. What others wrote may name
// methods that stand not here.
type AuthMethod string

// The methods.
const (
	MethodAuth  AuthMethod = "auth"
	MethodSPF   AuthMethod = "spf"
	MethodDKIM  AuthMethod = "dkim"
	MethodDMARC AuthMethod = "dmarc"
	MethodARC   AuthMethod = "arc"
)

// AuthVerdict is what came of a method: RFC 8601 section 2.7. "" is not known yet, or not asked for.
type AuthVerdict string

// The verdicts. Not every method has each: RFC 8601 sections 2.7.1 to 2.7.4, RFC 9989 section 9.1, RFC 8617 section 10.2.
const (
	AuthNone      AuthVerdict = "none"
	AuthPass      AuthVerdict = "pass"
	AuthFail      AuthVerdict = "fail"
	AuthSoftFail  AuthVerdict = "softfail"
	AuthNeutral   AuthVerdict = "neutral"
	AuthPolicy    AuthVerdict = "policy"
	AuthTempError AuthVerdict = "temperror"
	AuthPermError AuthVerdict = "permerror"
)
