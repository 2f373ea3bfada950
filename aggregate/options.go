package aggregate

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
)

// DefaultTries is how often a command is tried if Tries does not say it.
const DefaultTries = 10

// Option is something that Execute or Load is told besides its arguments. Options may be kept and used by many goroutines.
type Option func(*settings)

// settings are what the options say.
type settings struct {
	registry *events.Registry
	tries    int
	metadata [][2]string
	in       []func(ctx context.Context, tx pgx.Tx, appended eventstore.Appended) error
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

// settingsOf returns what options say, with defaults.
func settingsOf(options []Option) (*settings, error) {
	s := &settings{registry: events.Default}
	for _, option := range options {
		option(s)
	}
	if s.tries == 0 {
		s.tries = DefaultTries
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
