package rouse_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	operator "github.com/rouse-es/rouse/projection"
)

// unsaid is an effect that says nothing of where it begins.
type unsaid struct{ o *outside }

func (unsaid) Name() string { return "outside" }

func (u unsaid) Do(ctx context.Context, ev eventstore.Event) error { return u.o.Do(ctx, ev) }

// said is an effect that begins at a start, in place of the beginning.
type said struct {
	*outside
	from rouse.Start
}

func (s said) StartFrom() rouse.Start { return s.from }

// sorted are the positions that an effect has done, rising.
func (o *outside) sorted() []int64 {
	at := o.positions()
	slices.Sort(at)
	return at
}

// A new effect does not do again what has ever happened because nobody has thought of it.
func TestEffectOnALogWithEventsIsRefusedUntilItSaysWhereItBegins(t *testing.T) {
	t.Parallel()
	b := setup(t)
	at := b.appendAll("old", "old")
	o := &outside{}
	err := b.drain(b.Pool, rouse.Config{Effects: []rouse.Effect{unsaid{o}}})
	require.ErrorIs(t, err, rouse.ErrNoStart)
	require.ErrorContains(t, err, "func (unsaid) StartFrom() rouse.Start { return rouse.Now }")
	require.ErrorContains(t, err, "func (unsaid) StartFrom() rouse.Start { return rouse.Beginning }")
	require.Empty(t, o.positions())
	require.Zero(t, b.int("select count(*) from projections"), "nothing is decided by a start that is refused")

	require.NoError(t, b.drain(b.Pool, rouse.Config{Effects: []rouse.Effect{unsaid{o}}, StartFrom: rouse.Beginning}))
	require.Equal(t, at, o.sorted(), "the configuration may say it")
	at = append(at, b.append("new"))
	require.NoError(t, b.drain(b.Pool, rouse.Config{Effects: []rouse.Effect{unsaid{o}}, StartFrom: rouse.Now}))
	require.Equal(t, at, o.sorted(), "one that has checkpoints needs to say nothing, and what is said does not count")
	require.NoError(t, b.drain(b.Pool, rouse.Config{Effects: []rouse.Effect{unsaid{o}}}))
}

func TestEffectBeginsOnAnEmptyLogWithoutSayingWhere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	o := &outside{}
	w := b.start(b.Pool, rouse.Config{Effects: []rouse.Effect{unsaid{o}}}).WaitStarted()
	at := b.append("first")
	testdb.Eventually(t, patience, "the first event", func() (bool, error) { return slices.Equal(o.sorted(), []int64{at}), nil })
	w.MustStop()
}

// What was committed before a start from now is left out, and what is committed later is handled, wherever it stands: also behind an
// append that was open at the start, or in it.
func TestStartFromNowHandlesWhatIsCommittedLaterAndNothingElse(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]rouse.Config{
		"elastic": {}, "one partition": {Partitions: 1}, "static": {TotalWorkers: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.appendAll("old", "old", "old")
			slow, err := b.Conn(t).Begin(b.ctx)
			require.NoError(t, err)
			var open int64
			require.NoError(t, slow.QueryRow(b.ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
				values ('thing', 'slow', 1, 'slow', '{}') returning global_position`).Scan(&open))
			before := b.appendAll("old", "old", "old", "old") // committed, at positions above that of the open one
			require.Less(t, open, before[0])

			o := &outside{}
			cfg.Effects = []rouse.Effect{said{o, rouse.Now}}
			b.start(b.Pool, cfg).WaitStarted()
			after := b.appendAll("new", "new")
			require.NoError(t, slow.Commit(b.ctx))
			after = append(after, b.append("new"))
			want := append([]int64{open}, after...)
			testdb.Eventually(t, patience, "what was committed later", func() (bool, error) { return len(o.positions()) >= len(want), nil })
			require.Equal(t, want, o.sorted())
			testdb.Eventually(t, patience, "the rows of what was left out to be gone", func() (bool, error) {
				return b.int("select count(*) from event_attempts") == 0, nil
			})
		})
	}
}

// Of workers that start at once, one says where a projection begins, for all partitions: nothing that is committed behind that is
// left out, nothing before.
func TestWorkersThatStartAtOnceBeginAtOnePlace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.appendAll("old", "old")
	o := &outside{}
	stop := make(chan struct{})
	var appending sync.WaitGroup
	appended := make([][]int64, 2)
	for i := range appended {
		appending.Go(func() {
			for {
				appended[i] = append(appended[i], b.append("during"))
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	var workers []*running
	for range 4 {
		workers = append(workers, b.start(b.Pool, rouse.Config{Effects: []rouse.Effect{said{o, rouse.Now}}, Partitions: 8}))
	}
	for _, w := range workers {
		w.WaitStarted()
	}
	close(stop)
	appending.Wait()
	last := b.append("last")
	all := slices.Concat(append(appended, []int64{last})...)
	slices.Sort(all)
	testdb.Eventually(t, patience, "every partition to come to the end", func() (bool, error) {
		return b.int("select min(last_global_position) from projection_checkpoints") >= last, nil
	})
	done := o.sorted()
	require.Contains(t, done, last)
	require.Equal(t, len(done), len(slices.Compact(slices.Clone(done))), "nothing is handled twice")
	for _, position := range done {
		_, is := slices.BinarySearch(all, position)
		require.True(t, is, "nothing old is handled: %d", position)
	}
	var missing []int64
	for _, position := range all {
		if _, is := slices.BinarySearch(done, position); !is {
			missing = append(missing, position)
		}
	}
	require.Zero(t, b.int(`select count(*) from events where global_position = any ($1)
		and created_at >= (select created_at from projections)`, missing), "what is left out was there before the start")
}

// A position and a time: the first event that is handled is the one behind, or of then. The safe side is to leave nothing out.
func TestStartFromAPositionAndATime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	at := b.appendAll("e", "e", "e", "e", "e")
	noon := time.Date(2026, 2, 28, 12, 0, 0, 0, time.UTC)
	minute := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }
	for i, m := range []int{0, 1, 5, 3, 4} { // the third was made by a clock that was ahead, or was appended slowly
		b.exec("update events set created_at = $2 where global_position = $1", at[i], minute(m))
	}
	slow, err := b.Conn(t).Begin(b.ctx)
	require.NoError(t, err)
	var open int64
	require.NoError(t, slow.QueryRow(b.ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		values ('thing', 'slow', 1, 'slow', '{}') returning global_position`).Scan(&open))
	behind := b.appendAll("e")
	b.exec("update events set created_at = $2 where global_position = $1", behind[0], minute(9))

	for i, test := range []struct {
		from rouse.Start
		want []int64
	}{
		{rouse.Beginning, at}, {rouse.Position(0), at}, {rouse.Position(at[1]), at[2:]}, {rouse.Position(at[4]), nil},
		{rouse.Time(minute(-1)), at}, {rouse.Time(noon), at}, {rouse.Time(noon.Add(time.Microsecond)), at[1:]},
		{rouse.Time(minute(3)), at[2:]}, // with the third, which was made later
		{rouse.Time(minute(5)), at[2:]},
		{rouse.Time(minute(6)), nil}, // what is open may be of that time: from the horizon on
		{rouse.Time(minute(100)), nil},
		{"", at},
	} {
		name := fmt.Sprint("p", i)
		p := startedProjection{projection{name: name}, test.from}
		w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{p}, Partitions: 4}).WaitStarted()
		testdb.Eventually(t, patience, "what is settled to be handled", func() (bool, error) { return len(b.done(name)) >= len(test.want), nil })
		w.MustStop()
		done := b.done(name)
		slices.Sort(done)
		require.True(t, slices.Equal(test.want, done), "%s: %v, and not %v", test.from, done, test.want)
	}
	require.NoError(t, slow.Commit(b.ctx))
	require.NoError(t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{startedProjection{projection{name: "p10"}, rouse.Beginning}}}))
	require.ElementsMatch(t, []int64{open, behind[0]}, b.done("p10"), "nothing is left out that may be of that time")

	err = b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{startedProjection{projection{name: "beyond"}, rouse.Position(1000)}}})
	require.ErrorIs(t, err, rouse.ErrStart)
	require.ErrorContains(t, err, "position 1000 is not from 0 to that of the last event")
	_, err = rouse.New(b.Pool, rouse.Config{Projections: []rouse.Projection{startedProjection{projection{name: "odd"}, "soon"}}})
	require.ErrorIs(t, err, rouse.ErrConfig)
	require.ErrorContains(t, err, `"soon" is none of beginning, now, a position, and a time`)
}

// startedProjection is a projection that says where it begins.
type startedProjection struct {
	projection
	from rouse.Start
}

func (s startedProjection) StartFrom() rouse.Start { return s.from }

// New partitions begin where the one that they were a part of stands, and a checkpoint that has gone where the projection began.
func TestPartitionsInheritTheStart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.appendAll("old", "old", "old")
	cfg := rouse.Config{Projections: []rouse.Projection{startedProjection{projection{name: "p"}, rouse.Now}}}
	cfg.Partitions = 2
	require.NoError(t, b.drain(b.Pool, cfg))
	_, err := operator.Resize(b.ctx, b.Pool, "p", 16)
	require.NoError(t, err)
	b.exec("delete from projection_checkpoints where partition in (3, 7)")
	at := b.appendAll("new", "new", "new", "new")
	cfg.Partitions = 0
	require.NoError(t, b.drain(b.Pool, cfg))
	require.ElementsMatch(t, at, b.done("p"))
	require.EqualValues(t, 16, b.int("select count(*) from projection_checkpoints"))
}
