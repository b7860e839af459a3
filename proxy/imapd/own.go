package imapd

import (
	"slices"
	"strings"
)

// isOwn says whether a mailbox is for what its user writes: drafts and sent mail. What the server says of its mailboxes
// counts (RFC 6154), else their names do.
func (f *folders) isOwn(name string) bool {
	if name == "" {
		return false
	}
	name = canonical(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.own, name) || ownByName(name)
}

// ownByName goes by the names that mail programs and servers give, at the top or below INBOX.
func ownByName(name string) bool {
	name = strings.ToLower(name)
	for _, front := range []string{"inbox.", "inbox/", "[gmail]/", "[google mail]/"} {
		name = strings.TrimPrefix(name, front)
	}
	switch name {
	case "drafts", "draft", "entwürfe", "entwurf", "brouillons", "borradores", "bozze", "rascunhos", "concepten", "utkast", "kladder", "luonnokset",
		"wersje robocze", "szkice", "koncepty", "rozepsané", "piszkozatok", "schițe", "черновики", "чернетки", "taslaklar", "πρόχειρα", "下書き", "草稿", "임시 보관함",
		"sent", "sent items", "sent messages", "sent mail", "sent-mail", "gesendet", "gesendete elemente", "gesendete objekte",
		"éléments envoyés", "messages envoyés", "envoyés", "enviados", "elementos enviados", "posta inviata", "inviata", "itens enviados",
		"verzonden items", "verzonden", "verzonden berichten", "skickat", "skickade objekt", "sendte elementer", "sendt post", "sendt", "lähetetyt",
		"elementy wysłane", "wysłane", "odeslaná pošta", "odoslaná pošta", "elküldött elemek", "elküldött", "trimise", "отправленные", "надіслані",
		"gönderilmiş öğeler", "gönderilmiş", "απεσταλμένα", "送信済みアイテム", "送信済み", "已发送邮件", "已发送", "寄件備份", "보낸 편지함":
		return true
	}
	return false
}
