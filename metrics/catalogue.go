package metrics

import "github.com/prometheus/client_golang/prometheus"

// metric is one of the metrics: its name with the unit, its help text, and its labels. docs/operations.md has all of
// them.
type metric struct {
	name, help string
	labels     []string
}

// desc returns the description of m, for a value that is made at a scrape.
func (m metric) desc() *prometheus.Desc { return prometheus.NewDesc(m.name, m.help, m.labels, nil) }

// counter returns m as counters.
func (m metric) counter() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.name, Help: m.help}, m.labels)
}

// gauge returns m as gauges.
func (m metric) gauge() *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: m.name, Help: m.help}, m.labels)
}

// histogram returns m as histograms with buckets.
func (m metric) histogram(buckets []float64) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: m.name, Help: m.help, Buckets: buckets}, m.labels)
}

const (
	labelProjection = "projection"
	labelPartition  = "partition"
)

// The metrics that the observer of the worker updates.
var (
	eventsHandled   = metric{"rouse_events_handled_total", "Events that were handled.", []string{labelProjection}}
	batches         = metric{"rouse_batches_total", "Batches that were committed.", []string{labelProjection}}
	batchSeconds    = metric{"rouse_batch_duration_seconds", "How long a committed batch took, from its first statement on.", []string{labelProjection}}
	latencySeconds  = metric{"rouse_append_to_handled_seconds", "From the append of an event, by the database's clock, to the commit of its effect, by this machine's.", []string{labelProjection}}
	failedAttempts  = metric{"rouse_failed_attempts_total", "Attempts at events that failed and are tried again or given up.", []string{labelProjection}}
	givenUp         = metric{"rouse_events_given_up_total", "Events that could not be handled, by what became of them: park or skip.", []string{labelProjection, "what"}}
	fenced          = metric{"rouse_batches_fenced_total", "Batches that were rolled back because a partition had changed hands or the database had crashed.", []string{labelProjection}}
	versionJumps    = metric{"rouse_version_jumps_total", "Aggregates whose version jumped.", []string{labelProjection}}
	unknownEvents   = metric{"rouse_unknown_events_total", "Events of unknown types that were passed over.", []string{labelProjection}}
	leases          = metric{"rouse_leases", "Partitions that this worker owns.", []string{labelProjection}}
	leasesGained    = metric{"rouse_leases_gained_total", "Partitions that this worker took.", []string{labelProjection}}
	leasesLost      = metric{"rouse_leases_lost_total", "Partitions that this worker gave up or lost.", []string{labelProjection}}
	projectionState = metric{"rouse_projection_state", "1 for the state of the projection in this worker, 0 for the others.", []string{labelProjection, "state"}}
	pushMode        = metric{"rouse_push_mode", "1 for the push mode of this worker, 0 for the others.", []string{"mode"}}
	wakes           = metric{"rouse_wakes_total", "Sleeps of the reader that ended, by what ended them: push, poll or probe.", []string{"source"}}
	pushesMissed    = metric{"rouse_pushes_missed_total", "Reads that found what a proven push should have told of and had not, at least.", nil}
	blockedReads    = metric{"rouse_blocked_reads_total", "Reads that met committed events behind a hole that an open append may still fill.", nil}
)

// The metrics that a scrape reads, from the worker and from the database.
var (
	waitingSeconds    = metric{"rouse_waiting_seconds", "How long the projection has been waiting in this worker for what its handler depends on; 0: it does not wait.", []string{labelProjection}}
	workerAlive       = metric{"rouse_worker_alive", "1 if every loop of the worker runs, as /healthz says.", nil}
	workerReady       = metric{"rouse_worker_ready", "1 if the worker is ready, as /readyz says.", nil}
	listenerConnected = metric{"rouse_listener_connected", "1 if the listening connection stands and a probe has lately come through it.", nil}

	databaseUp          = metric{"rouse_database_up", "1 if the last look at the database succeeded.", nil}
	databaseErrors      = metric{"rouse_database_errors_total", "Looks at the database that failed.", nil}
	headPosition        = metric{"rouse_head_position", "Position of the last visible event.", nil}
	lagEvents           = metric{"rouse_lag_events", "Positions that the last visible event is ahead of the checkpoint.", []string{labelProjection, labelPartition}}
	lagSeconds          = metric{"rouse_lag_seconds", "Age of the first event behind the checkpoint.", []string{labelProjection, labelPartition}}
	unowned             = metric{"rouse_partitions_unowned", "Partitions that no living worker owns, of a projection that is neither paused nor stopped.", []string{labelProjection}}
	projectionHalted    = metric{"rouse_projection_halted", "1 if the projection was paused or stopped, for all workers.", []string{labelProjection}}
	projectionCondition = metric{"rouse_projection_condition", "1 for the condition of the projection, for all workers: running, unowned (nobody runs it), paused, stopped or retired (dropped or renamed).", []string{labelProjection, "condition"}}
	retryingEvents      = metric{"rouse_retrying_events", "Events that failed and are tried again by themselves, and those that wait behind them.", []string{labelProjection}}
	retryingOldest      = metric{"rouse_retrying_oldest_seconds", "How long ago the first of them was set aside; 0: there is none.", []string{labelProjection}}
	deferredEvents      = metric{"rouse_deferred_events", "Events that have not failed and wait for the time that their handler has named, and those that wait behind them.", []string{labelProjection}}
	deferredOverdue     = metric{"rouse_deferred_overdue_seconds", "How long ago the first of them was due; 0: none is.", []string{labelProjection}}
	parkedEvents        = metric{"rouse_parked_events", "Events that wait for people: failed ones that are not tried again, and those that wait behind them.", []string{labelProjection}}
	parkedOldest        = metric{"rouse_parked_oldest_seconds", "How long ago the first of them was set aside; 0: there is none.", []string{labelProjection}}
	workersAlive        = metric{"rouse_workers_alive", "Workers of this database that count as living.", nil}
	horizonHolds        = metric{"rouse_horizon_holds", "Appends that have been open for a second or more and hold back what was committed behind them.", nil}
	horizonSeconds      = metric{"rouse_horizon_hold_seconds", "How long the oldest of them has been open.", nil}
	horizonPID          = metric{"rouse_horizon_hold_pid", "Server process of the oldest of them; 0: there is none, or it is a prepared transaction.", nil}
	snapshotSeconds     = metric{"rouse_oldest_snapshot_seconds", "How long the oldest snapshot has kept dead rows from being cleaned up; 0: none does, or it is not known.", nil}
	snapshotAge         = metric{"rouse_oldest_snapshot_transactions", "Over how many transactions it has done so; 0: none does.", nil}
	deadCheckpoints     = metric{"rouse_checkpoints_dead_rows", "Dead rows of checkpoints, which claims and looks walk over.", nil}
	deadWorkers         = metric{"rouse_workers_dead_rows", "Dead rows of workers, which every look at the members walks over.", nil}
)
