package mimeview

import "slices"

// Ambiguity is a place that two mail readers would not read alike.
type Ambiguity struct {
	// Kind is one of the kinds below.
	Kind string
	// Where is the offset in octets: into the message, or into the decoded content that Within names.
	Where  int64
	Within string
	// Detail is what stood there, up to 80 octets of it. It comes from the message: escape it before you show it.
	Detail string
	// Idle says that it makes no difference: its other readings were made and none of them shows a file, or a text in another
	// form, that the reading the RFCs ask for does not; or it stands in what only a guess takes for parts.
	Idle bool
}

// The kinds of ambiguity. These strings are stable: policies and stored facts name them.
const (
	TwiceType        = "two content types"
	TwiceTypeLoose   = "another content type that not all readers see"
	TwiceCharset     = "two content types that differ in the charset"
	TwiceEncoding    = "two transfer encodings"
	TwiceDisposition = "two dispositions"
	TwiceID          = "two content ids"
	TwiceBoundary    = "two boundaries"
	TwiceParameter   = "parameter given twice"
	TwiceVersion     = "two MIME versions"

	NamesDiffer     = "file names differ"
	NameTypesDiffer = "file names of different types"
	NameControl     = "control octet in a file name"
	NameOrder       = "pieces of a parameter out of order"

	HeaderControl    = "control octet in a structural field"
	HeaderBareCR     = "bare CR in a header"
	HeaderBareLF     = "bare LF in a header"
	HeaderSpaceColon = "white space before a structural field's colon"
	HeaderSpaceName  = "white space before a structural field"
	HeaderNoColon    = "structural field without a colon"
	HeaderNameFolded = "structural field's name is folded"
	HeaderNameOdd    = "field name that holds a structural one"
	HeaderJunkLine   = "line in a header that is no field"
	HeaderBlankLine  = "line of white space in a header"
	HeaderEnd        = "end of the header is in doubt"
	HeaderLate       = "structural field behind the header"
	HeaderDirtyBreak = "structural field cut by an odd line end"

	EncodingUnknown   = "unknown transfer encoding"
	EncodingOdd       = "transfer encoding is not plainly written"
	EncodingMultipart = "encoding on a multipart"
	EncodingBase64    = "base64 on a multipart"
	TypeOdd           = "content type is not plainly written"
	TypeSyntax        = "content type without a slash"

	BoundaryOdd      = "boundary is not plainly written"
	BoundaryEmpty    = "empty boundary"
	BoundaryMissing  = "multipart without a boundary"
	BoundaryWrong    = "multipart whose boundary never comes"
	BoundaryLong     = "boundary longer than 70 octets"
	BoundaryOnLeaf   = "boundary on a part that is no multipart"
	BoundaryClash    = "a boundary within itself"
	DelimiterLine    = "delimiter not at a line start of CRLF"
	DelimiterJunk    = "something behind a delimiter"
	DelimiterInLeaf  = "delimiter in a part that is no multipart"
	DelimiterMissing = "multipart is not closed"
	PartInPreamble   = "part in a preamble"
	PartInEpilogue   = "part behind the last delimiter"

	Base64Junk      = "octets in base64 that do not belong there"
	Base64Padding   = "padding within base64"
	Base64Appended  = "base64 text behind base64 text"
	Base64Length    = "base64 of a wrong length"
	Base64Trailer   = "text behind the end of base64"
	QuotedIllegal   = "illegal quoted-printable"
	QuotedBlank     = "white space at a line end in quoted-printable"
	EncodedNoHeader = "encoded content that no header speaks of"

	VersionMissing  = "content fields without MIME-Version"
	VersionOdd      = "MIME-Version is not 1.0"
	MessagePartial  = "message/partial"
	MessageLoose    = "message/partial without an id and a number"
	MessageExternal = "message/external-body"
	PGPPlain        = "multipart/encrypted that is not encrypted"
	PGPBroken       = "broken OpenPGP message"
	TNEFBroken      = "lying length in TNEF"
)

// Grave says that honest mail practically never has this: a message with it is held by default. The others are seen
// in real mail from sloppy programs; their every reading is in Objects all the same.
func (a Ambiguity) Grave() bool {
	if a.Idle {
		return false
	}
	switch a.Kind {
	case TwiceType, TwiceTypeLoose, TwiceEncoding, TwiceBoundary, NameTypesDiffer, NameControl,
		HeaderControl, HeaderBareCR, HeaderBareLF, HeaderSpaceColon, HeaderSpaceName, HeaderNoColon, HeaderNameFolded,
		HeaderNameOdd, HeaderLate, HeaderDirtyBreak,
		EncodingOdd, EncodingBase64, TypeOdd,
		BoundaryOdd, BoundaryEmpty, BoundaryMissing, BoundaryWrong, BoundaryOnLeaf, BoundaryClash,
		DelimiterLine, DelimiterJunk, PartInPreamble, PartInEpilogue,
		Base64Padding, MessagePartial, MessageExternal, TNEFBroken:
		return true
	}
	return false
}

// Bounds on what is kept: what comes a ninth time says nothing new.
const (
	maxPerKind = 8
	maxDetail  = 80
)

func (v *View) ambiguous(kind string, s *source, where int64, detail string) {
	if v.kinds == nil {
		v.kinds = map[string]int{}
	}
	one := Ambiguity{Kind: kind, Where: where, Within: s.name, Detail: detail[:min(len(detail), maxDetail)], Idle: v.guessing > 0}
	counted := kind
	if one.Idle { // those in a guess must not crowd out what counts
		counted += " in a guess"
	}
	if v.kinds[counted]++; v.kinds[counted] <= maxPerKind {
		v.ambiguities = append(v.ambiguities, one)
	}
}

// followed says of a kind that all its other readings are made and stand in Objects: then it can be told whether they differ
// in what they show.
func followed(kind string) bool {
	switch kind {
	case HeaderLate, HeaderSpaceName, TwiceTypeLoose, TwiceEncoding, PartInPreamble, PartInEpilogue, DelimiterJunk,
		BoundaryOnLeaf, BoundaryClash:
		return true
	}
	return false
}

// settle marks the ambiguities that make no difference, once all readings have been looked at.
func (v *View) settle() {
	if len(v.Limits()) > 0 || slices.ContainsFunc(v.objects, v.differs) {
		return
	}
	for i := range v.ambiguities {
		v.ambiguities[i].Idle = v.ambiguities[i].Idle || followed(v.ambiguities[i].Kind)
	}
}

// isPlainText says whether a type is one of text that every reader shows as it is.
func isPlainText(t string) bool {
	return t == "text/plain" || t == "text/x-patch" || t == "text/x-diff"
}

// differs says that only another reading gives the object, and that it is more than a text that stands there for all to see.
func (v *View) differs(o *Object) bool {
	if o.plain || o.Part == nil {
		return false
	}
	if o.binary || !textual(o.content.way) {
		return true
	}
	for _, t := range o.Types {
		if !isPlainText(t) && !isMultipart(t) && !isMessage(t) {
			return true
		}
	}
	return false
}

// textual says of an encoding that one can read the text without undoing it.
func textual(way encoding) bool {
	switch way {
	case plain, quoted, quotedStrict, quotedDrop, quotedBlanks, quotedJoined:
		return true
	}
	return false
}
