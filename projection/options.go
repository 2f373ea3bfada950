package projection

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/internal/traits"
)

// ErrUnknown is the error of a handler under Refuse for an event whose type is not registered.
var ErrUnknown = errors.New("projection: not known")

// errNoReset is the error of a reset that nobody has said how to do.
var errNoReset = errors.New("projection: it is not said how the read model is emptied (add the option Tables or ResetWith)")

// errNoCreate is the error of making tables that nobody has said how to make.
var errNoCreate = errors.New("projection: it is not said how the tables are made (add the option CreateWith)")

// Option is a handler of New or NewEffect, or says something else of the projection or effect. Each is given once at most, in any order.
type Option func(d *draft)

// draft is what New collects before it makes a projection of it.
type draft struct {
	said
	effect   bool
	registry *events.Registry
	chosen   []chosen
	taken    []string // the options that were given
	faults   []string
}

// said is what a projection or effect says of itself beside its handlers, in place of what the configuration of its worker says. A zero value
// says nothing.
type said struct {
	unknown    UnknownPolicy
	aggregates []string
	onFailure  rouse.OnFailure
	retry      *rouse.RetryPolicy
	start      rouse.Start
	tables     []string
	version    int
	create     func(ctx context.Context, tx pgx.Tx) error
	reset      func(ctx context.Context, tx pgx.Tx) error
	batchTime  time.Duration
}

// target is what an option is for.
type target int

const (
	onBoth target = iota
	onProjection
	onEffect
)

// aim notes what is wrong with an option if it is not for what is made.
func (d *draft) aim(option string, of target) {
	switch {
	case of == onProjection && d.effect:
		d.refuse("is an effect, and %s is for projections", option)
	case of == onEffect && !d.effect:
		d.refuse("is a projection, and %s is for effects (NewEffect)", option)
	}
}

// take notes that an option is given, and what is wrong with that.
func (d *draft) take(option string, of target) {
	d.aim(option, of)
	if slices.Contains(d.taken, option) {
		d.refuse("has %s twice", option)
	}
	d.taken = append(d.taken, option)
}

// refuse notes what is wrong with an option.
func (d *draft) refuse(format string, args ...any) {
	d.faults = append(d.faults, fmt.Sprintf(format, args...))
}

// fault returns the first thing that is wrong with d, "" if nothing is.
func (d *draft) fault() string {
	if len(d.faults) > 0 {
		return d.faults[0]
	}
	handlers := map[reflect.Type]string{}
	for _, c := range d.chosen {
		if before, twice := handlers[c.goType]; twice {
			return fmt.Sprintf("has two handlers of %s, %s and %s: make one of them", c.goType, before, c.verb)
		}
		if c.missing {
			return fmt.Sprintf("has a %s of %s without a function", c.verb, c.goType)
		}
		handlers[c.goType] = c.verb
	}
	if len(handlers) == 0 {
		return "has no handlers: give it at least one (projection.On, Queue, or Do for an effect)"
	}
	if d.create != nil && len(d.tables) == 0 {
		return "has CreateWith and no Tables: name the tables that it makes"
	}
	return ""
}

// UnknownPolicy says what becomes of events whose types are not registered. See Unknown.
type UnknownPolicy int

const (
	// Pass passes over the event, tells the operators of it (rouse.Observer.Unknown, rouse_unknown_events_total), and logs the first of each type.
	Pass UnknownPolicy = iota + 1

	// Refuse gives the event to OnFailure, with ErrUnknown and without another try: by default it is parked, and later events of its aggregate wait
	// behind it until a program knows it and it is retried (package parked).
	Refuse
)

// Unknown has the projection read all events, or all of OfAggregates, and says what becomes of those whose types are not registered. Without it
// only events that have a handler are read, and nobody learns of others. Registered ones without a handler are passed over in either case.
func Unknown(policy UnknownPolicy) Option {
	return func(d *draft) {
		d.take("Unknown", onBoth)
		if policy != Pass && policy != Refuse {
			d.refuse("has an Unknown that is neither Pass nor Refuse")
		}
		d.unknown = policy
	}
}

// Events has the handlers' types looked up in a registry of their own. Default: events.Default.
func Events(registry *events.Registry) Option {
	return func(d *draft) {
		d.take("Events", onBoth)
		if registry == nil {
			d.refuse("has Events without a registry")
			return
		}
		d.registry = registry
	}
}

// OfAggregates has only events of these types of aggregates handled, as rouse.AggregateTyped says.
func OfAggregates(types ...string) Option {
	return func(d *draft) {
		d.take("OfAggregates", onBoth)
		if len(types) == 0 || slices.Contains(types, "") {
			d.refuse("has OfAggregates without types, or with one that is empty")
		}
		d.aggregates = slices.Clone(types)
	}
}

// OnFailure says what becomes of an event that cannot be handled, as rouse.FailurePolicy does.
func OnFailure(policy rouse.OnFailure) Option {
	return func(d *draft) {
		d.take("OnFailure", onBoth)
		if !slices.Contains([]rouse.OnFailure{rouse.Park, rouse.Stop, rouse.Skip}, policy) {
			d.refuse("has OnFailure %q, which is none of %s, %s, %s", policy, rouse.Park, rouse.Stop, rouse.Skip)
		}
		d.onFailure = policy
	}
}

// Retry says when an event that failed is tried again, as rouse.Retrier does.
func Retry(policy rouse.RetryPolicy) Option {
	return func(d *draft) {
		d.take("Retry", onBoth)
		d.retry = &policy
	}
}

// StartFrom says where the log begins for it, as rouse.Starter does.
func StartFrom(start rouse.Start) Option {
	return func(d *draft) {
		d.take("StartFrom", onBoth)
		if start == "" {
			d.refuse("has StartFrom without a start")
		}
		d.start = start
	}
}

// BatchTime bounds the time that passes before what is done is committed, as rouse.BatchTimed does.
func BatchTime(t time.Duration) Option {
	return func(d *draft) {
		d.take("BatchTime", onBoth)
		d.batchTime = t
	}
}

// Tables names the tables that the handlers write to, unquoted and without a schema, as rouse.Tabled does: so that the read model can be rebuilt
// beside itself. A reset deletes all rows of them, of the last one first; so a table that references another one is named after it. Where
// truncate is wanted, or tables keep some rows, ResetWith says how.
func Tables(names ...string) Option {
	return func(d *draft) {
		d.take("Tables", onProjection)
		if len(names) == 0 || slices.Contains(names, "") {
			d.refuse("has Tables without names, or with one that is empty")
		}
		d.tables = slices.Clone(names)
	}
}

// ResetWith says how the read model is emptied, as rouse.Resetter does.
func ResetWith(f func(ctx context.Context, tx pgx.Tx) error) Option {
	return func(d *draft) {
		d.take("ResetWith", onProjection)
		if f == nil {
			d.refuse("has ResetWith without a function")
		}
		d.reset = f
	}
}

// Version is the version of what the handlers make, 1 or above, as rouse.Versioned says. Default: 1.
func Version(version int) Option {
	return func(d *draft) {
		d.take("Version", onProjection)
		if version < 1 {
			d.refuse("has Version %d, which is below 1", version)
		}
		d.version = version
	}
}

// CreateWith makes the tables of a version that is built beside the live one, as rouse.Creator does.
func CreateWith(f func(ctx context.Context, tx pgx.Tx) error) Option {
	return func(d *draft) {
		d.take("CreateWith", onProjection)
		if f == nil {
			d.refuse("has CreateWith without a function")
		}
		d.create = f
	}
}

// refused returns the error of a handler for an event that its registered type cannot be made of.
func refused(err error) error {
	if errors.Is(err, events.ErrNewer) {
		return err
	}
	return rouse.Permanent(err)
}

// The methods of the optional interfaces. Lacks says which of them do not count.

func (s *said) AggregateTypes() []string   { return s.aggregates }
func (s *said) OnFailure() rouse.OnFailure { return s.onFailure }
func (s *said) StartFrom() rouse.Start     { return s.start }
func (s *said) BatchTime() time.Duration   { return s.batchTime }
func (s *said) Tables() []string           { return slices.Clone(s.tables) }
func (s *said) Version() int               { return max(s.version, 1) }

// RetryPolicy returns the policy, the zero one if there is none.
func (s *said) RetryPolicy() rouse.RetryPolicy {
	if s.retry == nil {
		return rouse.RetryPolicy{}
	}
	return *s.retry
}

// Create makes the tables of the version.
func (s *said) Create(ctx context.Context, tx pgx.Tx) error {
	if s.create == nil {
		return errNoCreate
	}
	return s.create(ctx, tx)
}

// Reset empties the read model.
func (s *said) Reset(ctx context.Context, tx pgx.Tx) error {
	switch {
	case s.reset != nil:
		return s.reset(ctx, tx)
	case len(s.tables) == 0:
		return errNoReset
	}
	var batch pgx.Batch
	for _, table := range slices.Backward(s.tables) {
		batch.Queue("delete from " + pgx.Identifier{table}.Sanitize())
	}
	return tx.SendBatch(ctx, &batch).Close()
}

// Lacks reports whether nothing was said of i.
func (s *said) Lacks(i traits.Interface) bool {
	switch i {
	case traits.Of[rouse.FailurePolicy]():
		return s.onFailure == ""
	case traits.Of[rouse.Retrier]():
		return s.retry == nil
	case traits.Of[rouse.Starter]():
		return s.start == ""
	case traits.Of[rouse.BatchTimed]():
		return s.batchTime == 0
	case traits.Of[rouse.Tabled]():
		return len(s.tables) == 0
	case traits.Of[rouse.Resetter]():
		return s.reset == nil && len(s.tables) == 0
	case traits.Of[rouse.Creator]():
		return s.create == nil
	}
	return false
}

// What is made has every optional interface, so far as Lacks does not deny it.
var (
	_ interface {
		rouse.Projection
		everything
		rouse.Resetter
		rouse.Tabled
		rouse.Versioned
		rouse.Creator
	} = applied{}
	_ interface {
		rouse.BatchProjection
		rouse.Queuer
		everything
		rouse.Resetter
		rouse.Tabled
		rouse.Versioned
		rouse.Creator
	} = queued{}
	_ interface {
		rouse.Effect
		everything
		traits.Starting
	} = effect{}
)

// everything is what projections and effects have both.
type everything interface {
	rouse.EventTyped
	rouse.AggregateTyped
	rouse.FailurePolicy
	rouse.Retrier
	rouse.Starter
	rouse.BatchTimed
	traits.Partial
	traits.Telling
}
