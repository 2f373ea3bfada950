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
