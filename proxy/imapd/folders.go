package imapd

import (
	"bytes"
	"slices"
	"strings"
	"sync"

	"postern/proxy/imapd/wire"
)

// kind is what a mailbox is for, as far as lessons go.
type kind uint8

const (
	plainBox kind = iota
	junkBox
	trashBox
	ownBox // for what the user writes
)

// maxSpecial is how many mailboxes of one kind are remembered.
const maxSpecial = 20

// folders knows the mailboxes for junk, for trash, and for what the user writes: by what LIST says of them (RFC 6154), else by their names. Names are
// decoded. It is safe for both goroutines.
type folders struct {
	mu          sync.Mutex
	asked       bool
	junk, trash []string
	own         []string
}

// specialUse reads the attributes of a mailbox up to the parenthesis that closes them: RFC 6154 section 2.
func specialUse(l *wire.Lexer) (use kind, ok bool) {
	for t := l.Next(); t.Kind != wire.Close; t = l.Next() {
		if t.Kind != wire.Atom {
			return plainBox, false
		}
		switch strings.ToUpper(t.Text) {
		case `\JUNK`, `\SPAM`: // \Spam is XLIST's
			use = junkBox
		case `\TRASH`:
			use = trashBox
		case `\DRAFTS`, `\SENT`:
			use = ownBox
		}
	}

	return use, true
}

// take takes the text of a LIST or XLIST response, behind its name.
func (f *folders) take(text []byte) {
	l := wire.NewLexer(bytes.TrimSuffix(text, []byte("\r\n")))
	if l.Next().Kind != wire.Open {
		return
	}
	to, good := specialUse(l)
	if !good || to == plainBox {
		return
	}
	l.Next() // the delimiter
	name, good := l.AString()
	if !good {
		return
	}
	name = canonical(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	list := &f.junk
	switch to {
	case trashBox:
		list = &f.trash
	case ownBox:
		list = &f.own
	}
	if len(*list) < maxSpecial && !slices.Contains(*list, name) {
		*list = append(*list, name)
	}
}

// forget forgets all: mailboxes come, go, or have other names.
func (f *folders) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked, f.junk, f.trash, f.own = false, nil, nil, nil
}

// ask says whether the server is to be asked; it is asked once.
func (f *folders) ask() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	ask := !f.asked && (len(f.junk) == 0 || len(f.trash) == 0)
	f.asked = true
	return ask
}

// kind says what a mailbox is for. junk are names from the settings, which count alone if there are any.
func (f *folders) kind(name string, junk []string) kind {
	name = canonical(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case slices.ContainsFunc(junk, func(one string) bool { return canonical(one) == name }):
		return junkBox
	case slices.Contains(f.trash, name):
		return trashBox
	case len(junk) == 0 && slices.Contains(f.junk, name):
		return junkBox
	}
	switch kindByName(name) {
	case junkBox:
		if len(f.junk) == 0 && len(junk) == 0 {
			return junkBox
		}
	case trashBox:
		if len(f.trash) == 0 {
			return trashBox
		}
	}
	return plainBox
}

func canonical(name string) string { return mailboxName(wire.MailboxName(name)) }

// kindByName goes by the names that mail programs and servers give, at the top or below INBOX.
func kindByName(name string) kind {
	name = strings.ToLower(name)
	for _, front := range []string{"inbox.", "inbox/", "[gmail]/", "[google mail]/"} {
		name = strings.TrimPrefix(name, front)
	}
	switch name {
	case "junk", "junk email", "junk e-mail", "junk mail", "spam", "bulk mail", "bulk",
		"junk-e-mail", "spamverdacht", "unerwünscht", "courrier indésirable", "indésirables", "pourriel", "spams",
		"correo no deseado", "correo basura", "no deseado", "posta indesiderata", "lixo eletrônico", "lixo eletrónico", "lixo electrónico",
		"ongewenste e-mail", "ongewenste post", "skräppost", "uønsket mail", "uønsket e-mail", "søppelpost", "søppel-e-post", "roskaposti",
		"wiadomości-śmieci", "niechciane", "nevyžádaná pošta", "nevyžiadaná pošta", "levélszemét", "mesaje nedorite", "нежелательная почта",
		"спам", "нежелана пошта", "önemsiz e-posta", "gereksiz", "ανεπιθύμητη αλληλογραφία", "迷惑メール", "垃圾邮件", "垃圾郵件", "정크 메일", "스팸":
		return junkBox
	case "trash", "deleted items", "deleted messages", "deleted", "bin",
		"papierkorb", "gelöschte elemente", "gelöschte objekte", "gelöscht", "corbeille", "éléments supprimés", "messages supprimés",
		"papelera", "elementos eliminados", "cestino", "posta eliminata", "elementi eliminati", "lixeira", "lixo", "itens excluídos", "itens eliminados",
		"prullenbak", "verwijderde items", "papperskorgen", "borttaget", "slettet post", "slettede elementer", "papirkurv", "roskakori", "poistetut",
		"kosz", "elementy usunięte", "koš", "odstraněná pošta", "kuka", "törölt elemek", "корзина", "удаленные", "удалённые", "кошик",
		"çöp kutusu", "silinmiş öğeler", "κάδος απορριμμάτων", "ごみ箱", "削除済みアイテム", "已删除邮件", "已删除", "垃圾箱", "刪除的郵件", "휴지통":
		return trashBox
	}
	return plainBox
}

// knowFolders asks the server, once, where junk and trash are. No literal of the client may be under way to the server.
//
// RFC 6154 section 5.2: a selection by SPECIAL-USE takes LIST-EXTENDED; without it each LIST response says it.
func (s *session) knowFolders() error {
	if !s.folders.ask() {
		return nil
	}
	if err := s.drain(); err != nil {
		return err
	}
	f, err := s.features()
	if err != nil || f.lister == "" {
		return err
	}
	return s.ask(f.lister, &own{lists: true})
}

// readName reads the literal that a mailbox's name is written as.
func (s *session) readName(size int64, keep func([]byte)) error {
	if size > maxLiteralResponse {
		return misconduct("a literal larger than any name")
	}
	for left := size; left > 0; {
		p, err := s.back.in.Next(left)
		if err != nil {
			return err
		}
		keep(p)
		left -= int64(len(p))
	}
	return nil
}

// listed takes a LIST response. One that we asked for is not for the client.
func (s *session) listed(piece []byte, body int, end bool) error {
	const limit = 8 << 10
	o := s.flow.ownUnderWay()
	hidden := o != nil && o.lists
	text := []byte{}
	keep := func(p []byte) { text = append(text, p[:min(len(p), limit-len(text))]...) }
	if !hidden {
		keep(piece[body:])
		err := s.passing(piece, end, keep)
		s.folders.take(text)
		return err
	}
	var tail wire.Tail
	for first := true; ; first = false {
		lit, follows := tail.Piece(piece, end)
		if first {
			keep(piece[body:])
		} else {
			keep(piece)
		}
		if end && !follows {
			s.folders.take(text)
			return nil
		}
		if follows {
			if err := s.readName(lit.Size, keep); err != nil {
				return err
			}
		}
		var err error
		if piece, end, err = s.back.in.Segment(); err != nil {
			return err
		}
	}
}
