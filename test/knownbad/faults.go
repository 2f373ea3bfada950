package knownbad

// faults are all of them. A change is as small as it can be, so that it fits for long: where the product has moved on, so has
// the change.
var faults = []struct {
	name    string
	changes []change
}{
	// Everything up to the head passes for settled, whoever may still fill a hole below it.
	{"horizonless", []change{
		{"catchup/reader.go", "	if f.lowWater != nil {\n", "	if false {\n"},
	}},

	// What a push has carried is handed out wherever it is above the cursor.
	{"carried-ahead", []change{
		{"catchup/carried.go", "		if events[i].GlobalPosition != to+1 {\n			return Batch{}, false\n		}\n		to++\n", "		to = events[i].GlobalPosition\n"},
	}},

	// Whoever may notify is believed.
	{"unsealed", []change{
		{"catchup/push.go", "	if !hmac.Equal([]byte(payload[:sealLength]), k.seal(message)) {\n", "	if !hmac.Equal(k.seal(message), k.seal(message)) {\n"},
	}},

	// A read brings as many events as there may be, whatever they weigh.
	{"heavy", []change{
		{"catchup/bound.go", "	if bytes > 0 && bytes+size > most {\n", "	if bytes < 0 && bytes+size > most {\n"},
		{"catchup/bound.go", "	return !last && m.weight+size > m.most/flowParts\n", "	return false\n"},
	}},

	// A save tests nothing at all.
	{"unfenced", []change{
		{"catchup/sql/save.sql", "c.owner = $2::text::uuid and c.epoch = excluded.epoch and c.last_global_position = excluded.last_global_position\n",
			"($2::text, excluded.epoch) is not null -- which tests nothing\n"},
		{"catchup/sql/save.sql", "count(owner)", "count(*)"},
		{"catchup/sql/save.sql", savedToken, savedNoToken},
		{"catchup/sql/save_one.sql", "owner = $2::text::uuid and epoch = $5 and last_global_position = $6\n",
			"($2::text, $5::bigint, $6::bigint) is not null -- which tests nothing\n"},
		{"catchup/sql/save_one.sql", savedToken, savedNoToken},
	}},

	// A save that moves no row is noticed by the client, which has sent its COMMIT by then.
	{"client-fenced", []change{
		{"catchup/sql/save.sql", "select 1 / (count(owner) = cardinality($4::int[]))::int,\n", "select 1,\n"},
		{"catchup/sql/save_one.sql", "select 1 / coalesce((select 1 from saved), 0),\n", "select 1,\n"},
		{"catchup/sql/save.sql", "pg_advisory_unlock_all()::text,\n       array_agg(spot) filter (where $12::bool)\n", "pg_advisory_unlock_all()::text, $12::bool\n"},
		{"catchup/sql/save_one.sql", "pg_advisory_unlock_all()::text,\n       case when $12::bool then array(select spot from saved) end\n", "pg_advisory_unlock_all()::text, $12::bool\nfrom saved\n"},
		{"internal/apply/transaction.go", `	at := e.at
	e.save.Queue(batch).Fn = func(results pgx.BatchResults) error {
		into := at
		if into == nil {
			into = new(catchup.Saved)
		}
		if w == nil {
			return w.saveError(results.QueryRow().Scan(into))
		}
		return w.saveError(w.scanSave(results.QueryRow(), into))
`, `	e.save.Queue(batch).Fn = func(results pgx.BatchResults) error {
		tag, err := results.Exec()
		if err == nil && tag.RowsAffected() < int64(len(e.save.Fences)) {
			err = catchup.ErrFenced
		}
		return w.saveError(err)
`},
	}},

	// Cursor and horizon are kept when the database comes back from a crash as another incarnation.
	{"remembered", []change{
		{"catchup/reader.go", "	case !token:\n", "	case false:\n"},
		{"catchup/sql/save.sql", savedToken, savedNoToken},
		{"catchup/sql/save_one.sql", savedToken, savedNoToken},
	}},

	// A batch ends with the events that were read, however long they take, and with whatever wants the worker to leave.
	{"unbounded", []change{
		{"internal/apply/budget.go", "	return b != nil && (b.called() || !b.until.IsZero() && !time.Now().Before(b.until))\n", "	return false\n"},
		{"internal/apply/pace.go", "size: 1, growth: maxGrowth", "size: limit, growth: maxGrowth"},
	}},

	// While a handler works, the checkpoints of its partitions are moved on to the last visible event.
	{"idle-ahead", []change{
		{"internal/apply/apply.go", "	lanes := a.deal(events)\n", "	defer a.idleAhead(workCtx)()\n	lanes := a.deal(events)\n"},
		{"internal/apply/idle_ahead.go", "", `package apply

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/rouse-es/rouse/catchup"
)

// idleAhead moves all checkpoints on while a handler works. What it returns ends this.
func (a *Applier) idleAhead(ctx context.Context) (end func()) {
	var fences []*catchup.Fence
	for _, fence := range a.checkpoints.behind(math.MaxInt64) {
		copied := *fence
		fences = append(fences, &copied)
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(900 * time.Millisecond):
		}
		if last, err := catchup.LastVisible(ctx, a.run.tx.pool, math.MaxInt64); err == nil {
			_ = a.run.tx.save(ctx, txEnd{save: a.checkpoints.save(fences, last)})
		}
	})
	return func() { cancel(); wg.Wait() }
}
`},
	}},

	// A reader sleeps as soon as the listener is armed, whatever is open.
	{"unsettled", []change{
		{"listener/arming.go", "			s.l.armed(head)\n", "			s.l.armed(0 * head)\n"},
	}},

	// A connection that delivers nothing passes for sound.
	{"unprobed", []change{
		{"listener/probe.go", "		if conn != nil && conn == p.c.connection() {\n", "		if conn != nil && conn == p.c.connection() && false {\n"},
	}},

	// A worker goes on from the checkpoints that it remembers, not from those of the database.
	{"checkpoint-in-memory", []change{
		{"internal/projector/session.go", "	if err := s.adopt(ctx, leases); err != nil {\n", `	for i, l := range leases {
		leases[i].Floor = catchup.RememberedFloor(s.cfg.Name, l.Partition, l.Floor)
	}
	if err := s.adopt(ctx, leases); err != nil {
`},
		{"catchup/save.go", "func (s Save) Queue(batch *pgx.Batch) *pgx.QueuedQuery {\n", "func (s Save) Queue(batch *pgx.Batch) *pgx.QueuedQuery {\n	remember(s)\n"},
		{"catchup/sql/save.sql", "c.epoch = excluded.epoch and c.last_global_position = excluded.last_global_position\n", "c.epoch = excluded.epoch\n"},
		{"catchup/sql/save.sql", savedToken, savedNoToken},
		{"catchup/sql/save_one.sql", "epoch = $5 and last_global_position = $6\n", "epoch = $5 and $6::bigint is not null\n"},
		{"catchup/sql/save_one.sql", savedToken, savedNoToken},
		{"catchup/remembered.go", "", `package catchup

import "sync"

// checkpoint is a partition of a projection.
type checkpoint struct {
	projection string
	partition  int
}

// saved are the last positions saved by this process.
var saved sync.Map // of checkpoint: int64

func remember(s Save) {
	for _, f := range s.Fences {
		saved.Store(checkpoint{s.Projection, f.Partition}, s.To)
	}
}

// RememberedFloor is the position that this process has saved last of a partition, or the given one if it has saved none.
func RememberedFloor(projection string, partition int, floor int64) int64 {
	if to, is := saved.Load(checkpoint{projection, partition}); is {
		return max(floor, to.(int64))
	}
	return floor
}
`},
	}},

	// An append believes the note that says that it holds K, which any role can set: the trigger of migration 2.
	{"believed-note", []change{
		{"migrations/0014_light.sql", "  held pg_catalog.text;\n", "  held pg_catalog.text := pg_catalog.current_setting('rouse.lw_' operator(pg_catalog.||) tg_relid::pg_catalog.text, true);\n  xact constant pg_catalog.text := pg_catalog.pg_current_xact_id()::pg_catalog.text;\n"},
		{"migrations/0014_light.sql", "begin\n  if coalesce(pg_catalog.current_setting(", "begin\n  if held is not distinct from xact then\n    return null;\n  end if;\n  if coalesce(pg_catalog.current_setting("},
		{"migrations/0014_light.sql", "tg_relid::pg_catalog.text, low::pg_catalog.text, true) ", "tg_relid::pg_catalog.text, xact, true) "},
		{"migrations/0014_light.sql", "      perform pg_catalog.set_config(note, key::pg_catalog.text, true);\n", "      perform pg_catalog.set_config(note, xact, true);\n"},
	}},

	// The save believes that the transaction is the one that was begun.
	{"any-transaction", []change{
		{"catchup/sql/save.sql", "case when $9::text is not null and ", "case when $9::text is not null and false and "},
		{"catchup/sql/save_one.sql", "case when $9::text is not null and ", "case when $9::text is not null and false and "},
	}},

	// The worker's statements find their tables by the search_path of the session.
	{"unnamed-schema", []change{
		{"internal/db/db.go", "	if schema != \"\" {\n		prefix", "	if schema == \"no schema\" {\n		prefix"},
	}},

	// The projection of the demo leaves out every thousandth event.
	{Demo, []change{
		{"internal/demo/projection.go", "	for _, ev := range events {\n		positions = append(", `	for _, ev := range events {
		if ev.GlobalPosition%1000 == 0 {
			continue
		}
		positions = append(`},
	}},
}

// Demo is the fault of the demo, which no worker of a user's has.
const Demo = "demo"

// The test of the incarnation in both statements of the save, and what stands in its place.
const (
	savedToken   = "and exists (select from rouse.rouse_incarnation where rouse.rouse_incarnation_now(token) = $3::text)\n"
	savedNoToken = "and $3::text is not null\n"
)
