package impersonation

import (
	"context"
	"slices"
	"strings"
	"unicode"

	"postern/filters"
	"postern/internal/mail"
	looks "postern/internal/mimeview/confusable"
)

// officeWords are the words by which a company's own offices sign, adminWords those of whoever runs its mail, in several
// languages and without accents.
const (
	officeWords = ` it hr helpdesk support admin administrator administration payroll finance accounting accounts security team service servicedesk
 personal personalabteilung buchhaltung geschaftsfuhrung edv verwaltung compta comptabilite rh informatique direction soporte sistemas nominas
 rrhh contabilidad administracion amministrazione risorse umane ufficio personeelszaken salarisadministratie kadry ksiegowosc dzial
 insan kaynaklari destek recursos humanos suporte financeiro mail email mailbox webmail portal intranet notification noreply scanner copier fax
 voicemail voip server system management ceo office benefits compliance `
	adminWords = ` admin administrator administration team support helpdesk desk service services system server alert notification notice security
 center department quota storage upgrade manager account help accounts dienst verwaltung support administrateur administrador soporte equipe assistenza `
	mailWords = ` mail email mails emails mailbox webmail outlook exchange postmaster mailserver smtp imap cpanel roundcube zimbra owa postfach posteingang
 messagerie correo buzon casella posta postvak skrzynka caixa eposta `
)

// titleWords are the words by which companies and offices of any kind sign, and those who lead them.
const titleWords = ` helpdesk support billing invoice invoices invoicing payment payments payroll account accounts accounting security service services
 servicedesk notification notifications renewal renewals subscription order orders desk department dept hr admin administrator administration
 webmaster postmaster mailbox webmail director ceo cfo president chairman customer team delivery refund refunds verification alert alerts document documents
 docs scanner voicemail fax secure court lawyer bank banking
 abrechnung rechnung rechnungen rechnungswesen buchhaltung personalabteilung kundenservice kundendienst kundencenter sicherheit geschaftsfuhrung
 geschaftsfuhrer vorstand verwaltung zustellung zustellbericht inkasso anwaltskanzlei
 facturation facture factures comptabilite commande commandes assistance direction directeur president securite livraison remboursement clientele
 facturacion factura soporte servicio seguridad direccion gerente contabilidad nominas rrhh reembolso atencion correos
 fatturazione fattura assistenza servizio sicurezza direzione amministrazione amministratore contabilita ordini
 directie klantenservice facturatie boekhouding beveiliging afdeling administratie
 faturamento suporte atendimento seguranca diretor diretoria financeiro contabilidade
 faktura ksiegowosc obsluga dyrektor prezes dzial muhasebe destek hizmetleri mudur mudurlugu guvenlik
 служба поддержка поддержки бухгалтерия директор отдел безопасности `

// titleSigns are the same in scripts whose words stand without spaces, or are written in one with others.
func titleSigns() []string {
	return []string{"代表取締役", "社長", "人事部", "経理", "総務", "請求", "サポート", "窓口", "客服", "财务", "人力资源", "行政部", "总经理", "董事长", "系统管理", "中心", "الدعم", "خدمة العملاء", "المدير", "پشتیبانی", "مدیر"}
}

// offices looks for names such as "Billing Department" over addresses at free mail services.
func offices(r *report, s senders) {
	for _, b := range s.from {
		if b.Name == "" || strings.Contains(b.Name, "@") || !filters.IsFreemail(b.Address.ASCIIDomain()) {
			continue
		}
		name := b.Name[:min(len(b.Name), maxName)]
		words := strings.FieldsFunc(plainName(name), func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) })
		office := len(words) <= maxLookWords && slices.ContainsFunc(words, in(titleWords))
		if office || slices.ContainsFunc(titleSigns(), func(sign string) bool { return strings.Contains(name, sign) }) {
			r.add("FREEMAIL_OFFICE", b.Name+" is "+b.Address.String())
		}
	}
}

// maxLookWords is how many words a department's name has at most: a person's name and title beside it is a person's.
const maxLookWords = 6

// departments looks for names such as "Corp IT Support" and "Mail Administrator" over foreign addresses.
func (f filter) departments(r *report, tx *mail.Transaction, s senders) {
	labels := ownLabels(f.own(tx))
	for _, b := range s.from {
		if b.Name == "" || strings.Contains(b.Name, "@") || f.env.Local(b.Address.ASCIIDomain()) {
			continue
		}
		words := strings.FieldsFunc(plainName(b.Name[:min(len(b.Name), maxName)]), func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) })
		if len(words) == 0 || len(words) > maxLookWords {
			continue
		}
		ours := slices.ContainsFunc(words, func(w string) bool { return slices.Contains(labels, w) })
		switch {
		case ours && slices.ContainsFunc(words, in(officeWords)) && !named(b.Address, labels):
			r.add("INTERNAL_LOOK", b.Name+" is "+b.Address.String())
		case slices.ContainsFunc(words, in(mailWords)) && slices.ContainsFunc(words, in(adminWords)):
			r.add("ADMIN_LOOK", b.Name+" is "+b.Address.String())
		}
	}
}

// plainName is a name in lower case without accents, its letters as they are: "rn" stays two letters.
func plainName(name string) string { return strings.ToLower(looks.Fold(name)) }

func in(list string) func(string) bool {
	return func(word string) bool { return filters.HasWord(list, word) }
}

// minOwnLabel is the length from which the first label of a domain of ours is taken for our name.
const minOwnLabel = 3

// ownLabels are the names of ours that stand in front of the public suffix.
func ownLabels(domains []string) (labels []string) {
	for _, d := range domains {
		label, _ := split(registered(d))
		if len(label) >= minOwnLabel {
			labels = append(labels, strings.ToLower(display(label)))
		}
	}

	return labels
}

// named says whether our name stands in an address: that of a service which was made for us, corp@esp.example.
func named(a mail.Address, labels []string) bool {
	return slices.ContainsFunc(labels, func(l string) bool { return strings.Contains(strings.ToLower(a.Domain), l) })
}

// partners compares the domains of senders with those that our users write to.
func (f filter) partners(ctx context.Context, r *report, tx *mail.Transaction, s senders) {
	if f.env.State == nil {
		return
	}
	for _, list := range []struct {
		where string
		boxes []mail.Mailbox
	}{{"From", s.from}, {"Reply-To", s.replyTo}} {
		for _, b := range list.boxes[:min(len(list.boxes), 2)] {
			domain := b.Address.ASCIIDomain()
			if domain == "" || f.env.Local(domain) || filters.IsFreemail(domain) {
				continue
			}
			if like := filters.PartnerLike(ctx, f.env.State, domain); like != "" {
				r.add("LOOKALIKE_PARTNER", list.where+" "+domain+" looks like "+like)
			}
		}
	}
}
