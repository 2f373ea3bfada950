package eventstore

import "strconv"

// Expected is the expectation of the caller of [Append] about the stream: the version that it has now. The zero value
// is [NoStream].
type Expected struct {
	any     bool
	version int64 // 0 is a stream without events
}

// NoStream expects that the stream has no events yet. It is the same as Exact(0).
func NoStream() Expected {
	return Expected{}
}

// Exact expects that the last event of the stream has the given version: the AggregateVersion of the last event that
// the caller took into account. Exact(0) is NoStream; a negative version is refused by Append.
func Exact(version int64) Expected {
	return Expected{version: version}
}

// Any expects nothing: the events go to the end of the stream, at any version. It suits facts that need no decision,
// such as measurements. Commands that decide on the events that they read use Exact.
func Any() Expected {
	return Expected{any: true}
}

// String returns the expectation in words.
func (e Expected) String() string {
	switch {
	case e.any:
		return "any version"
	case e.version == 0:
		return "no events"
	default:
		return "version " + strconv.FormatInt(e.version, 10)
	}
}

// met reports whether a stream at the given version is as expected.
func (e Expected) met(version int64) bool {
	return e.any || e.version == version
}

// param returns the expectation as the parameter of a statement: null expects nothing.
func (e Expected) param() *int64 {
	if e.any {
		return nil
	}
	return &e.version
}
