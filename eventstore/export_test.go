package eventstore

// The statements, for the tests of their plans.
var (
	AppendOneSQL  = appendOneSQL
	AppendManySQL = appendManySQL
	ConflictSQL   = conflictSQL
	ReadStreamSQL = readStreamSQL
	ReadAfterSQL  = readAfterSQL
)

// MaxAttempts is the bound on the attempts of one Append.
const MaxAttempts = maxAttempts

// TagStatements are the statements that look for tags, by name.
var TagStatements = map[string]string{"seen": tagsSeenSQL, "check": tagsCheckSQL, "read": tagsReadSQL}
