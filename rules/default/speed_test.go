package defaultrules

import (
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/rules"
)

// letter is a mail of 10 KB as people write them, in both forms.
func letter() []byte {
	var text, page strings.Builder
	sentences := []string{
		"Thank you for the figures, which I passed on to the others this morning.", "The next meeting is on Thursday at ten in the small room on the second floor.",
		"Please have a look at the draft and tell me what is missing before we send it.", "I will be away until Monday, but Karin can answer questions about the order.",
		"The part for the pump arrives next week; the invoice follows by post.",
	}
	page.WriteString("<html><head><style>p { margin: 0 }</style></head><body>\r\n")
	for i := range 60 {
		s := sentences[i%len(sentences)]
		text.WriteString(s + "\r\n")
		page.WriteString("<p class=\"line\">" + s + "</p>\r\n")
		if i%6 == 5 {
			text.WriteString("\r\n")
			page.WriteString("<p><a href=\"https://www.example.com/orders/" + strings.Repeat("7", i%4+1) + "\">the order</a></p>\r\n")
		}
	}
	return []byte("Received: from mail.example.org (mail.example.org [192.0.2.7]) by mx.example.net with ESMTPS id 1; Mon, 2 Nov 2026 10:00:00 +0100\r\n" +
		"From: Ann Example <ann@example.org>\r\nTo: Bob <bob@example.net>\r\nSubject: The order of last week\r\nDate: Mon, 2 Nov 2026 10:00:00 +0100\r\n" +
		"Message-ID: <1@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + text.String() + "\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + page.String() + "</body></html>\r\n--b--\r\n")
}

// threadTime is the processor time of the thread.
func threadTime() time.Duration {
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if syscall.Getrusage(thread, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkLetter is what the shipped rules take for a usual letter whose parts were read already.
func BenchmarkLetter(b *testing.B) {
	set, _, err := Load(Folders{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	raw := letter()
	view := mimeview.New(mail.NewMessage(raw), mimeview.Options{})
	defer view.Close()
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := threadTime()
	for b.Loop() {
		set.Run(rules.Input{View: view})
	}
	b.ReportMetric(float64(threadTime()-start)/float64(b.N), "cpu-ns/op")
}
