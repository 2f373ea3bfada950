package rouse

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/rebuild"
	"github.com/rouse-es/rouse/partition"
)

// The defaults of Config, each for the field of its name. Concurrency defaults to 1.
const (
	DefaultBatchSize      = 1000
	DefaultBatchBytes     = catchup.DefaultBytes // 16 MiB
	DefaultBatchTime      = time.Second
	DefaultHandlerTimeout = 30 * time.Second
	DefaultStopTimeout    = 10 * time.Second
	DefaultLeaseTTL       = partition.DefaultTTL
)

// maxBatchSize is the most events of one transaction, whatever is configured.
const maxBatchSize = 10_000

// Config configures a Worker. Projections or Effects must name at least one handler; the zero value of every other
// field selects its default. New copies the Config and fills in the defaults; later changes have no effect.
type Config struct {
	// Projections and Effects are the handlers of the worker. Each name may occur once, over both lists.
	Projections []Projection
	Effects     []Effect

	// Schema is the schema that holds Rouse's tables, unquoted, such as tenant_1. The transactions of handlers and of Reset have it
	// first in their search_path, before what their session has there, so that a table without a schema is looked for in it first; a
	// handler may change that for its transaction, and nothing of it stays on the connection. What a handler sends beside its
	// transaction, and all that an Effect does, is not concerned. Default: search_path finds the tables, and handlers have it as it is.
	Schema string

	// Label names this process for people, in status, logs and read models. It need not be unique. Default: host name
	// and process id.
	Label string

	// TotalWorkers above 0 makes the worker static: it owns the partitions p of every projection with p mod
	// TotalWorkers = WorkerIndex; WorkerIndex counts from 0. With TotalWorkers 0, the default, the worker is elastic
	// and shares the partitions evenly with all other elastic workers that run the projection. Static and elastic
	// workers cannot share a projection: the worker that comes later is refused, with partition.ErrMixed.
	WorkerIndex, TotalWorkers int

	// MaxPartitions is the maximum number of partitions of one projection that an elastic worker takes. Partitions
	// beyond the limits of all workers are not handled, and a worker logs a warning about them. Default: no limit. A
	// static worker must leave it 0.
	MaxPartitions int

	// LeaseTTL is how long an elastic worker keeps its partitions after its last heartbeat, from 1 s to 1 h. It matters
	// for a process that is frozen or cut off; the end of a killed process is noticed at once by its connections.
	// Heartbeats are sent five times per LeaseTTL while there are events, and less often at rest. A worker whose own heartbeats do not get through stops after four
	// fifths of LeaseTTL. Default: 5 s.
	LeaseTTL time.Duration

	// IdleInterval is how often a worker that has nothing to do asks the database anything, for databases that sleep when
	// nobody asks them: from 1 s to 1 h. Every statement that it must send then, the heartbeat with its look at the other
	// workers and at the end of the log, and the probe of the push, comes once in that time. An append wakes the worker as ever,
	// and a worker that was killed is replaced with the first event. But a heartbeat is valid for two and a half times as long,
	// so a worker that was frozen or cut off while there was nothing to do keeps its partitions for that long, and a push that
	// was lost is made good for after that time. It needs the push, so not PollOnly. Default: a heartbeat every 2 s, every 12 s
	// if the worker is static, 14 a second of all where they are more than 28, and a read of the log every 30 s.
	IdleInterval time.Duration

	// Concurrency is how many handlers of one projection run at once, each for its own partitions and on its own
	// connection, up to 1024. Default: 1.
	Concurrency int

	// Partitions is the number of partitions of a projection that starts for the first time, a power of two up to 1024.
	// Afterwards it must agree with the database, also once an operator has changed the number there
	// (projection.Resize). 0: the number in the database, or 32 for a new projection. It bounds how many workers can
	// share a projection.
	Partitions int

	// StartFrom says where projections and effects begin that have not run yet and do not implement Starter. Default: a projection at
	// the beginning of the log. An effect too while the log is empty; on a log that has events it is refused (ErrNoStart), because it
	// would do again all that has ever happened.
	StartFrom Start

	// BatchSize is the maximum number of events that one transaction handles, from 1 to 10000, whatever waits. Default: 1000
	// (DefaultBatchSize), and up to 10000, or 20 for each partition that the worker owns where that is more, while a projection is behind
	// and more wait, as long as such a batch takes no more than 100 ms and none fails; those of an Effect do not grow. Large batches save transactions, and a statement that
	// takes the events of an aggregate together has fewer rows to write. To bound a transaction, set it: 1000 is at most 1000.
	BatchSize int

	// BatchBytes bounds the bytes of the events that are read at a time, whatever their number, from 65536 to 1 GiB; an
	// event that is larger comes by itself. A transaction of a projection that is far behind gets half of them, unless the one before
	// it has left more. Projections that are far behind share it, and so do all others; each may have
	// 1 MiB. It bounds the memory of the worker: events take up to five times as much, Go's garbage as much again.
	// Default: 16 MiB.
	BatchBytes int
	// BatchTime is how long events are handled before what is done is committed, for all projections and effects that do
	// not implement BatchTimed: from 1 ms to 1 h, but one event is always handled whole. A worker that joins waits that
	// long for its share, and a process that is killed loses that much work; effects of that time come again. Between two
	// events a worker also looks whether it has to stop or to give partitions up. A batch of a BatchProjection travels as
	// a whole, so its size follows the time that the last ones took, beginning with one event. Default: 1 s, in which a
	// fast handler commits many batches of BatchSize, so it notices nothing. Negative: no limit, and batches of BatchSize.
	BatchTime time.Duration

	// HandlerTimeout is the maximum duration of one call of a handler: one Apply, one Do, or a whole batch. After it
	// the call's context is cancelled, its transaction is rolled back, and the attempt counts as failed. Default: 30 s.
	// Negative: no limit.
	HandlerTimeout time.Duration

	// StopTimeout is how long Run waits for the event in hand, or the batch of a BatchProjection, once its context is cancelled. Default: 10 s. Negative:
	// for ever.
	StopTimeout time.Duration

	// Retry says when an event that failed is tried again, and when for the last time, for all projections and effects that do not
	// implement Retrier. Default: quick tries for some seconds, and then for 11 minutes in all with a projection, for a day with an
	// effect, and for 3 s under Stop.
	Retry RetryPolicy

	// OnFailure decides about an event that still cannot be handled, for all projections and effects that do not
	// implement FailurePolicy. Default: Park.
	OnFailure OnFailure

	// SyncCommit makes the transactions of projections wait until they are flushed to disk. The default is not to wait:
	// a crash of the server then loses read model and checkpoint together, and the events, which are durable, are
	// handled again. Set it if a program outside the database acts on the read model. Effects always wait.
	SyncCommit bool

	// PromoteCaughtUp has another version of a projection (Versioned) take the place of the one that is live as soon as it has caught
	// up, without `rouse projection promote`. Leave it off to look at what it has built first, and to choose the moment. It concerns
	// versions that this worker is the first to bring.
	PromoteCaughtUp bool

	// PollOnly does without LISTEN and NOTIFY: the worker reads every second or faster, and its sleep costs appends
	// nothing.
	PollOnly bool

	// ListenConn returns the settings of the listening connection and of the control connection, on which the worker shows
	// that it lives. They must lead to PostgreSQL itself, past any transaction pooler, and to the database of the pool. It is
	// called before each connect, by two goroutines, and what it returns is copied; ParseConfig of pgx makes it. ctx ends
	// after 10 seconds. The pool's BeforeConnect gets the copy, and its AfterConnect the connection. Default: the connection
	// settings of the pool.
	ListenConn func(ctx context.Context) (*pgx.ConnConfig, error)

	// Observer has the functions that the worker calls when something happens, for metrics and tracing. Default: none.
	Observer Observer

	// Log receives the messages for an operator, never payloads. The zero value is silent.
	Log zerolog.Logger
}

// withDefaults returns a copy of c in which every field that is zero has its default.
func (c Config) withDefaults() Config {
	if c.Label == "" {
		c.Label = defaultLabel()
	}
	if c.BatchBytes == 0 {
		c.BatchBytes = DefaultBatchBytes
	}
	if c.BatchTime == 0 {
		c.BatchTime = DefaultBatchTime
	}
	if c.HandlerTimeout == 0 {
		c.HandlerTimeout = DefaultHandlerTimeout
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = DefaultStopTimeout
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

// batchSizes returns the most events of a transaction, and the most while more wait.
func (c Config) batchSizes() (first, most int) {
	if c.BatchSize == 0 {
		return DefaultBatchSize, maxBatchSize
	}
	return c.BatchSize, c.BatchSize
}

// validate returns an error that wraps ErrConfig and lists every fault at once, nil if there is none. c has its
// defaults.
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
		case strings.Contains(name, rebuild.Mark):
			fault("the name %s has a %s, which stands in the names of what is built beside a projection", name, rebuild.Mark)
		case seen[name]:
			fault("two projections are named %s", name)
		}
		seen[name] = true
	}
	if fault := schemaFault(c.Schema); fault != "" {
		faults = append(faults, fault)
	}
	if c.TotalWorkers < 0 || c.TotalWorkers > 0 && (c.WorkerIndex < 0 || c.WorkerIndex >= c.TotalWorkers) {
		fault("WorkerIndex %d is not from 0 to TotalWorkers - 1 = %d", c.WorkerIndex, c.TotalWorkers-1)
	}
	if p := c.Partitions; p < 0 || p > 1024 || p&(p-1) != 0 {
		fault("Partitions %d is not a power of two up to 1024", p)
	}
	if c.BatchSize < 0 || c.BatchSize > maxBatchSize {
		fault("BatchSize %d is not from 1 to %d, or 0", c.BatchSize, maxBatchSize)
	}
	if c.BatchBytes < 64<<10 || c.BatchBytes > 1<<30 {
		fault("BatchBytes %d is not from 65536 to 1073741824", c.BatchBytes)
	}
	faults = append(faults, c.handlerFaults()...)
	if c.MaxPartitions < 0 || c.MaxPartitions > 0 && c.TotalWorkers > 0 {
		fault("MaxPartitions %d is negative, or set on a static worker, whose share is fixed", c.MaxPartitions)
	}
	if c.MaxPartitions > math.MaxInt32 {
		fault("MaxPartitions %d is above %d (0: no limit)", c.MaxPartitions, math.MaxInt32)
	}
	if !utf8.ValidString(c.Label) || strings.ContainsRune(c.Label, 0) {
		fault("Label %q, the name of the worker, is not UTF-8", c.Label)
	}
	if c.LeaseTTL < time.Second || c.LeaseTTL > time.Hour {
		fault("LeaseTTL %s is not from 1s to 1h", c.LeaseTTL)
	}
	if c.IdleInterval != 0 && (c.IdleInterval < time.Second || c.IdleInterval > time.Hour) {
		fault("IdleInterval %s is not from 1s to 1h (0: as usual)", c.IdleInterval)
	}
	if c.IdleInterval != 0 && c.PollOnly {
		fault("IdleInterval %s needs the push, and PollOnly is set (a worker that polls cannot rest)", c.IdleInterval)
	}
	if c.Concurrency < 1 || c.Concurrency > 1024 {
		fault("Concurrency %d is not from 1 to 1024", c.Concurrency)
	}
	if len(faults) > 0 {
		return fmt.Errorf("%w: %s", ErrConfig, strings.Join(faults, "; "))
	}
	return nil
}

// handlerFaults returns what is wrong with what projections and effects say of themselves, or with its defaults.
func (c Config) handlerFaults() (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for _, handler := range c.handlers() {
		if d := c.batchTime(handler); d >= 0 && d < time.Millisecond || d > time.Hour {
			fault("BatchTime %s of %s is not from 1ms to 1h, or negative", d, handler.Name())
		}
	}
	for _, p := range c.Projections {
		if versionOf(p) < 1 {
			fault("Version %d of %s is below 1", versionOf(p), p.Name())
		}
		if tabled, is := as[Tabled](p); is && len(tabled.Tables()) == 0 {
			fault("Tables of %s names none", p.Name())
		}
	}
	for _, policy := range c.policies() {
		if !policy.valid() {
			fault("OnFailure %q is none of %s, %s, %s", policy, Park, Stop, Skip)
		}
	}
	for _, start := range c.starts() {
		if _, err := catchup.ParseStart(string(start)); start != "" && err != nil {
			fault("StartFrom: %v", err)
		}
	}
	for _, retry := range c.retries() {
		if retry.Jitter > 1 || retry.Jitter != retry.Jitter {
			fault("RetryPolicy.Jitter %v is above 1", retry.Jitter)
		}
	}
	return faults
}

// maxName is how long a name may be in PostgreSQL, in bytes. It cuts longer ones, and then they may be those of others.
const maxName = 63

// schemaFault returns what is wrong with the name of a schema, "" if nothing is.
func schemaFault(name string) string {
	switch {
	case !utf8.ValidString(name) || strings.ContainsRune(name, 0):
		return fmt.Sprintf("Schema %q is not UTF-8", name)
	case len(name) > maxName:
		return fmt.Sprintf("Schema %q is longer than %d bytes", name, maxName)
	}
	return ""
}

// policies returns the OnFailure of c and of every projection and effect.
func (c Config) policies() []OnFailure {
	policies := []OnFailure{c.OnFailure}
	for _, handler := range c.handlers() {
		policies = append(policies, c.onFailure(handler))
	}
	return policies
}

// starts returns the Start of c and of every projection and effect.
func (c Config) starts() []Start {
	starts := []Start{c.StartFrom}
	for _, handler := range c.handlers() {
		if starter, is := as[Starter](handler); is {
			starts = append(starts, starter.StartFrom())
		}
	}
	return starts
}

// retries returns the RetryPolicy of c and of every projection and effect.
func (c Config) retries() []RetryPolicy {
	policies := []RetryPolicy{c.Retry}
	for _, p := range c.Projections {
		policies = append(policies, c.retry(p))
	}
	for _, e := range c.Effects {
		policies = append(policies, c.retry(e))
	}
	return policies
}

// named is a Projection or an Effect.
type named interface{ Name() string }

// handlers returns all projections and effects, in order.
func (c Config) handlers() []named {
	var handlers []named
	for _, p := range c.Projections {
		handlers = append(handlers, p)
	}
	for _, e := range c.Effects {
		handlers = append(handlers, e)
	}
	return handlers
}

// names returns the names of all projections and effects, in order.
func (c Config) names() []string {
	var names []string
	for _, handler := range c.handlers() {
		names = append(names, handler.Name())
	}
	return names
}

// static reports whether WorkerIndex and TotalWorkers fix the worker's share.
func (c Config) static() bool { return c.TotalWorkers > 0 }
