package rouse

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/partition"
)

// The defaults of Config.
const (
	DefaultBatchSize      = 1000
	DefaultHandlerTimeout = 30 * time.Second
	DefaultStopTimeout    = 10 * time.Second
	DefaultRetries        = 5
	DefaultLeaseTTL       = partition.DefaultTTL
)

// Config is everything a Worker can be told. The zero value of every field but Projections and Effects is useful, and one
// of these two must name something to do.
type Config struct {
	// Projections and Effects are what the worker does with events. Each name may occur once.
	Projections []Projection
	Effects     []Effect

	// Label is what people call this process, in status, logs and read models. Default: host name and process id.
	Label string

	// TotalWorkers makes the worker static: it owns the partitions p of every projection with p mod TotalWorkers =
	// WorkerIndex, and WorkerIndex counts from 0. 0: the worker is elastic, and shares the partitions evenly with all other
	// elastic workers that run the projection. Static and elastic workers cannot share a projection: the one that comes
	// later is refused, with partition.ErrMixed.
	WorkerIndex, TotalWorkers int

	// MaxPartitions is the most partitions of one projection that an elastic worker takes. Partitions that nobody may take
	// are not handled, and a worker warns of them. Default: no limit.
	MaxPartitions int

	// LeaseTTL is how long an elastic worker that is not heard of keeps its partitions, at least 1 s. A killed process is
	// noticed at once by its connections; this is for one that is frozen or cut off. Heartbeats are sent five times as often.
	// A worker whose own do not get through stops after four fifths of it. Default: 5 s.
	LeaseTTL time.Duration

	// Concurrency is how many handlers of one projection run at once, each for partitions of its own, on connections of
	// their own. Default: 1.
	Concurrency int

	// Partitions is the number of partitions of a projection that starts for the first time, a power of two up to 1024, and
	// must agree with the database afterwards, also when that is changed (partition.Resize). 0: whatever the database says,
	// 32 for a new projection. It bounds how many workers can share a projection.
	Partitions int

	// BatchSize is the most events that one transaction handles. Default: 1000: with 500 a catch-up took a quarter longer, because
	// every save moves the checkpoints of all partitions, and beyond 1000 little is gained.
	BatchSize int

	// HandlerTimeout is how long one call of a handler may take: one Apply, one Do, or a whole batch. Then its context is
	// cancelled, its transaction is rolled back, and it counts as failed. Default: 30 s. Negative: no limit.
	HandlerTimeout time.Duration

	// StopTimeout is how long Run waits for the batch in hand when it is told to stop. Default: 10 s. Negative: for ever.
	StopTimeout time.Duration

	// Retries is how often a failing event is tried again, after 100 ms, 200 ms, 400 ms and so on, before OnFailure decides.
	// Tries are counted in the database, so they add up over processes that die in the handler. Failures that are the
	// database's and not the handler's do not count, and Permanent ones are not tried again. Default: 5. Negative: none.
	Retries int

	// OnFailure is what becomes of an event that still cannot be handled, for all projections and effects that are no
	// FailurePolicy. Default: Park.
	OnFailure OnFailure

	// SyncCommit makes the transactions of projections wait until they are flushed to disk. The default is not to wait: a
	// crash of the server then loses read model and checkpoint together, and the events, which are durable, are handled
	// again. Set it if something outside the database acts on what it reads in the read model. Effects always wait.
	SyncCommit bool

	// PollOnly goes without LISTEN and NOTIFY: the worker reads every second or faster, and its sleep costs appends nothing.
	PollOnly bool

	// ListenConn opens the connection that listens and the control connection, on which the worker shows that it lives. It
	// must lead to PostgreSQL itself, past any transaction pooler.
	// Default: as the pool connects.
	ListenConn *pgx.ConnConfig

	// Observer is told what happens. Default: nobody is.
	Observer Observer

	// Log gets what an operator should know; payloads never. The zero value is silent.
	Log zerolog.Logger
}

func (c Config) withDefaults() Config {
	if c.Label == "" {
		host, _ := os.Hostname()
		c.Label = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
	if c.BatchSize == 0 {
		c.BatchSize = DefaultBatchSize
	}
	if c.HandlerTimeout == 0 {
		c.HandlerTimeout = DefaultHandlerTimeout
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = DefaultStopTimeout
	}
	if c.Retries == 0 {
		c.Retries = DefaultRetries
	}
	if c.OnFailure == "" {
		c.OnFailure = Park
	}
	if c.LeaseTTL == 0 {
		c.LeaseTTL = DefaultLeaseTTL
	}
	if c.Concurrency == 0 {
		c.Concurrency = 1
	}
	return c
}

// validate reports every fault at once.
func (c Config) validate() error {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if len(c.Projections)+len(c.Effects) == 0 {
		fault("there is nothing to do (set Projections or Effects)")
	}
	seen := map[string]bool{}
	for _, name := range c.names() {
		switch {
		case name == "":
			fault("a projection has no name")
		case seen[name]:
			fault("two projections are named %s", name)
		}
		seen[name] = true
	}
	if c.TotalWorkers < 0 || c.TotalWorkers > 0 && (c.WorkerIndex < 0 || c.WorkerIndex >= c.TotalWorkers) {
		fault("WorkerIndex %d is not from 0 to TotalWorkers - 1 = %d", c.WorkerIndex, c.TotalWorkers-1)
	}
	if p := c.Partitions; p < 0 || p > 1024 || p&(p-1) != 0 {
		fault("Partitions %d is not a power of two up to 1024", p)
	}
	if c.BatchSize < 1 || c.BatchSize > 10_000 {
		fault("BatchSize %d is not from 1 to 10000", c.BatchSize)
	}
	for _, policy := range c.policies() {
		if !policy.valid() {
			fault("OnFailure %q is none of %s, %s, %s", policy, Park, Stop, Skip)
		}
	}
	if c.MaxPartitions < 0 || c.MaxPartitions > 0 && c.TotalWorkers > 0 {
		fault("MaxPartitions %d is negative, or set on a static worker, whose share is fixed", c.MaxPartitions)
	}
	if c.LeaseTTL < time.Second || c.LeaseTTL > time.Hour {
		fault("LeaseTTL %s is not from 1s to 1h", c.LeaseTTL)
	}
	if c.Concurrency < 1 || c.Concurrency > 1024 {
		fault("Concurrency %d is not from 1 to 1024", c.Concurrency)
	}
	if len(faults) > 0 {
		return fmt.Errorf("%w: %s", ErrConfig, strings.Join(faults, "; "))
	}
	return nil
}

// policies are all that are asked for.
func (c Config) policies() []OnFailure {
	policies := []OnFailure{c.OnFailure}
	for _, p := range c.Projections {
		policies = append(policies, c.onFailure(p))
	}
	for _, e := range c.Effects {
		policies = append(policies, c.onFailure(e))
	}
	return policies
}

func (c Config) onFailure(handler any) OnFailure {
	if policy, is := optional(handler).(FailurePolicy); is {
		return policy.OnFailure()
	}
	return c.OnFailure
}

func (c Config) names() []string {
	var names []string
	for _, p := range c.Projections {
		names = append(names, p.Name())
	}
	for _, e := range c.Effects {
		names = append(names, e.Name())
	}
	return names
}

// static tells whether the worker's share is fixed by its number.
func (c Config) static() bool { return c.TotalWorkers > 0 }

// refused tells whether err is one that a start must not try to outwait, because only a person can mend it.
func refused(err error) bool {
	return errors.Is(err, partition.ErrMismatch) || errors.Is(err, partition.ErrCount) ||
		errors.Is(err, partition.ErrMixed) || errors.Is(err, ErrReplaced)
}
