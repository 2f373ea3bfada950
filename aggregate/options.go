package aggregate

import (
	"context"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
)

// DefaultTries is how often a command is tried if Tries does not say it.
const DefaultTries = 10

// DefaultSnapshotEvery is behind how many events a snapshot is made if SnapshotEvery does not say it.
const DefaultSnapshotEvery = 100

// Option is something that Execute or Load is told besides its arguments. Options may be kept and used by many goroutines.
type Option func(*settings)

// settings are what the options say.
type settings struct {
	registry *events.Registry
	tries    int
	metadata [][2]string
	in       []func(ctx context.Context, tx pgx.Tx, appended eventstore.Appended) error

	snapshots *snapshots // nil: none
	every     int
	report    func(error)
}

// Events has the events read and written by a registry of its own. Default: events.Default.
func Events(registry *events.Registry) Option { return func(s *settings) { s.registry = registry } }

// Tries bounds how often a command is tried that other writers of its stream are faster than. 0: DefaultTries. Negative: the context is the
// only bound.
func Tries(n int) Option { return func(s *settings) { s.tries = n } }

// Metadata adds an entry to the metadata of the new events, as eventstore.WithMetadata does. It may be given several times.
func Metadata(key, value string) Option {
	return func(s *settings) { s.metadata = append(s.metadata, [2]string{key, value}) }
}

// In has f run in the transaction of the append, behind it: what f writes is committed together with the events, or not at all. f must
// not end tx. Its error rolls back and is returned, unless it says that a concurrent transaction came first (eventstore.ErrConflict,
// eventstore.ErrRetryTransaction, or what the server says so with): then the command is tried again. It is not called where nothing was
// decided. In may be given several times, and they run in that order.
func In(f func(ctx context.Context, tx pgx.Tx, appended eventstore.Appended) error) Option {
	return func(s *settings) { s.in = append(s.in, f) }
}

// Snapshot keeps the state of a stream in the table rouse_snapshots, as JSON, whenever DefaultSnapshotEvery events were read behind the last
// one (SnapshotEvery), and begins with it when the stream is read. name tells kinds of state of one stream apart; version, at
// least 1, is that of its form: raise it with every change of the type or of the fold after which an older state would be wrong. Snapshots
// of other versions are left alone, so that programs of two releases may run side by side.
//
// The state's fields have to be exported, and of types that come back from JSON as they were: a state of another type is refused with ErrOption,
// and one that does not come back equal is not kept. A snapshot is only made of committed events, by a *pgxpool.Pool or a *pgx.Conn; with a
// pgx.Tx it is read, and none is made. Whatever keeps a snapshot from being read or written changes no result: the stream is read from its
// beginning, and Report hears of it.
//
// retention.Erase removes the snapshots of its aggregate, and one that is about to be made of what was erased is not kept. Any row may be deleted
// by hand, except that streams whose first events have left the log need theirs.
func Snapshot(name string, version int) Option {
	return func(s *settings) { s.snapshots = &snapshots{name: name, version: version} }
}

// SnapshotEvery says behind how many events a snapshot is made. 0: DefaultSnapshotEvery. Negative: none is made, and those that are there are
// used. 1 makes one whenever there is something new, such as of a stream that is about to be pruned.
func SnapshotEvery(events int) Option { return func(s *settings) { s.every = events } }

// Report has f called with what keeps a snapshot from being read, used or written. It has nothing of the state in it. Without it that is passed
// over, because it changes no result.
func Report(f func(err error)) Option { return func(s *settings) { s.report = f } }

// maxNameBytes bounds the name of a kind of state, which is in an index with the stream.
const maxNameBytes = 200

// settingsOf returns what options say, with defaults.
func settingsOf(options []Option) (*settings, error) {
	s := &settings{registry: events.Default}
	for _, option := range options {
		option(s)
	}
	if s.tries == 0 {
		s.tries = DefaultTries
	}
	if s.every == 0 {
		s.every = DefaultSnapshotEvery
	}
	if n := s.snapshots; n != nil {
		if n.name == "" || len(n.name) > maxNameBytes || n.version < 1 || n.version > math.MaxInt32 {
			return nil, fmt.Errorf("%w: Snapshot needs a name of up to %d bytes and a version from 1 on", ErrOption, maxNameBytes)
		}
		n.every = s.every
	}
	if s.registry == nil {
		return nil, fmt.Errorf("%w: Events has no registry", ErrOption)
	}
	for _, f := range s.in {
		if f == nil {
			return nil, fmt.Errorf("%w: In has no function", ErrOption)
		}
	}
	return s, nil
}
