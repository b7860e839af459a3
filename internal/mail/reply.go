package mail

import (
	"fmt"
	"strings"
)

// Reply is an answer to an SMTP command: RFC 5321 section 4.2, with the enhanced code of RFC 2034.
type Reply struct {
	Code     int
	Enhanced string
	// Text may hold several lines, parted by "\n".
	Text string
	// Away marks a 4xx of ours that says that no next hop could be asked. It is not written.
	Away bool `json:"-"`
	// OfSender marks what a next hop answered to MAIL: it says nothing about any recipient. It is not written.
	OfSender bool `json:"-"`
}

// NewReply makes a reply. The enhanced code is "" where RFC 2034 allows none.
func NewReply(code int, enhanced, format string, args ...any) Reply {
	text := format
	if len(args) > 0 {
		text = fmt.Sprintf(format, args...)
	}
	return Reply{Code: code, Enhanced: enhanced, Text: text}
}

// TryLater is the reply when the fault is ours. The cause goes to the log only.
func TryLater() Reply {
	return Reply{Code: 451, Enhanced: "4.3.0", Text: "We could not finish this just now. Nothing was lost, please try again later"}
}

// Positive, Temporary and Permanent are the classes of RFC 5321 section 4.2.1.
func (r Reply) Positive() bool  { return r.Code >= 200 && r.Code < 300 }
func (r Reply) Temporary() bool { return r.Code >= 400 && r.Code < 500 }
func (r Reply) Permanent() bool { return r.Code >= 500 }

// WithID puts the id of a connection or transaction behind the text of a refusal, for the sender to quote.
func (r Reply) WithID(id string) Reply {
	if r.Code < 400 || id == "" || strings.HasSuffix(r.Text, "("+id+")") {
		return r
	}
	at := strings.LastIndexByte(r.Text, '\n') + 1
	last := r.Text[at:]
	if room := maxReplyText - len(id) - 3; len(last) > room { // the id is what the sender's admin will ask for
		last = strings.ToValidUTF8(last[:room], "")
	}
	r.Text = r.Text[:at] + last + " (" + id + ")"
	return r
}

// maxReplyText is the room for text in one reply line of 512 octets: RFC 5321 section 4.5.3.1.5.
const maxReplyText = 480

// AppendWire writes the reply as it goes over the wire. Text from elsewhere can't break out of its line: everything but
// printable characters becomes "?".
func (r Reply) AppendWire(b []byte) []byte {
	lines := strings.Split(r.Text, "\n")
	for i, line := range lines {
		sep := byte('-')
		if i == len(lines)-1 {
			sep = ' '
		}
		b = fmt.Appendf(b, "%03d%c", r.Code, sep)
		if r.Enhanced != "" {
			b = append(append(b, r.Enhanced...), ' ')
		}
		b = appendPrintable(b, line)
		b = append(b, '\r', '\n')
	}
	return b
}

// String is the reply on one line, for logs and the ledger.
func (r Reply) String() string {
	wire := strings.TrimSuffix(string(r.AppendWire(nil)), "\r\n")
	return strings.ReplaceAll(wire, "\r\n", " / ")
}

func appendPrintable(b []byte, line string) []byte {
	if len(line) > maxReplyText {
		line = strings.ToValidUTF8(line[:maxReplyText], "")
	}
	for i := range len(line) {
		c := line[i]
		if c < ' ' && c != '\t' || c == 0x7f {
			c = '?'
		}
		b = append(b, c)
	}
	return b
}
