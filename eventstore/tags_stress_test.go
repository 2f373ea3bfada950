package eventstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
)

// The school: a course has few seats, a student few courses, and whether a student may join depends on the events of both.
const (
	courses, students       = 12, 12
	seats, coursesOfStudent = 4, 4
)

// joining is what is tried: a student joins a course, or leaves it.
type joining struct{ course, student int }

func (j joining) tags() []string {
	return []string{fmt.Sprint("course:", j.course), fmt.Sprint("student:", j.student)}
}

func (j joining) event(typ string) eventstore.NewEvent {
	return eventstore.NewEvent{Type: typ, Payload: json.RawMessage(fmt.Sprintf(`{"course": %d, "student": %d}`, j.course, j.student))}
}

// rules folds events, in the order of the log, and returns who is where, or the rule that was broken.
type rules struct{ in map[joining]bool }

func (r *rules) apply(e eventstore.Event) error {
	var j struct{ Course, Student int }
	if err := json.Unmarshal(e.Payload, &j); err != nil {
		return err
	}
	return r.do(joining{j.Course, j.Student}, e.Type)
}

func (r *rules) do(j joining, typ string) error {
	switch {
	case typ == "Left" && !r.in[j]:
		return errors.New("left without being there")
	case typ == "Left":
		delete(r.in, j)
		return nil
	case r.in[j]:
		return errors.New("joined twice")
	}
	ofCourse, ofStudent := 0, 0
	for in := range r.in {
		if in.course == j.course {
			ofCourse++
		}
		if in.student == j.student {
			ofStudent++
		}
	}
	if ofCourse >= seats {
		return errors.New("the course has no seat")
	}
	if ofStudent >= coursesOfStudent {
		return errors.New("the student has no time")
	}
	r.in[j] = true
	return nil
}

// errDecided means that the rules forbid what was tried.
var errDecided = errors.New("forbidden")

// school makes one decision: it reads, decides, and appends.
type school func(ctx context.Context, b *testBundle, j joining) error

// joinByTags is how it is done.
func joinByTags(ctx context.Context, b *testBundle, j joining) error {
	events, condition, err := eventstore.ReadTagged(ctx, b.Pool, all(j.tags()[0]), all(j.tags()[1]))
	if err != nil {
		return err
	}
	typ, err := decide(j, events)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, b.Pool, func(tx pgx.Tx) error {
		_, err := eventstore.AppendIf(ctx, tx, condition, eventstore.Stream{Type: "joining", ID: fmt.Sprint(j)}, eventstore.Tagged{NewEvent: j.event(typ), Tags: j.tags()})
		return err
	})
}

// decide says what happens: whoever is there leaves.
func decide(j joining, events []eventstore.Event) (string, error) {
	r := rules{in: map[joining]bool{}}
	for _, e := range events {
		if e.Type == "Joined" || e.Type == "Left" {
			// Only the events of this course and this student are here, so what others did elsewhere may look wrong.
			_ = r.apply(e)
		}
	}
	if r.in[j] {
		return "Left", nil
	}
	return "Joined", r.forbidden(j)
}

func (r *rules) forbidden(j joining) error {
	if r.do(j, "Joined") != nil {
		return errDecided
	}
	return nil
}

// run lets writers try, and returns how many events there are and how many break a rule.
func (s school) run(t *testing.T, b *testBundle, writers, tries int) (events, broken int, refused int64) {
	t.Helper()
	var conflicts atomic.Int64
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 7))
			for range tries {
				j := joining{random.IntN(courses), random.IntN(students)}
				err := s(b.ctx, b, j)
				for errors.Is(err, eventstore.ErrConflict) {
					conflicts.Add(1)
					err = s(b.ctx, b, j)
				}
				if !errors.Is(err, errDecided) && !assert.NoError(t, err) {
					return
				}
			}
		})
	}
	wg.Wait()
	log, err := eventstore.ReadAfter(b.ctx, b.Pool, 0, -1)
	require.NoError(t, err)
	r := rules{in: map[joining]bool{}}
	for _, e := range log {
		if err := r.apply(e); err != nil {
			broken++
		}
	}
	return len(log), broken, conflicts.Load()
}

// Sixteen writers at a dozen courses and students. The log, in its order, breaks no rule, and nobody was caught in a deadlock.
// ROUSE_TRIES makes it longer.
func TestAppendIf_SixteenWritersBreakNoRule(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tries := 20
	if n, err := strconv.Atoi(os.Getenv("ROUSE_TRIES")); err == nil {
		tries = n
	}
	events, broken, refused := school(joinByTags).run(t, b, 16, tries)
	require.Zero(t, broken, "of %d events", events)
	require.Positive(t, refused, "they did meet")
	t.Logf("%d events, %d conditions refused", events, refused)
}

// naiveInsert appends an event with the tags $1, unless there is one with one of them behind position $2.
const naiveInsert = `with e as (
		insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'joining', gen_random_uuid()::text, 1, $3, $4::text::json
		where not exists (select from event_tags t join events e using (event_id) where t.tag = any ($1) and e.global_position > $2)
		returning event_id
	)
	insert into event_tags (tag, event_id) select tag, event_id from e, unnest($1::text[]) tag order by tag`

// naive reads, decides, and appends if nothing came behind the last position that it has read.
func naive(ctx context.Context, b *testBundle, j joining, exec func(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)) error {
	events, _, err := eventstore.ReadTagged(ctx, b.Pool, all(j.tags()[0]), all(j.tags()[1]))
	if err != nil {
		return err
	}
	var last int64
	for _, e := range events {
		last = e.GlobalPosition
	}
	typ, err := decide(j, events)
	if err != nil {
		return err
	}
	e := j.event(typ)
	done, err := exec(ctx, naiveInsert, j.tags(), last, e.Type, string(e.Payload))
	if err == nil && done.RowsAffected() == 0 {
		return eventstore.ErrConflict
	}
	return err
}

// naiveAtOnce looks and inserts in one statement.
func naiveAtOnce(ctx context.Context, b *testBundle, j joining) error {
	return naive(ctx, b, j, b.Pool.Exec)
}

// naiveLocked does that under the locks of the tags. No two writers of one tag are there at once, and positions are taken under the
// lock; but those of several tags are seen in another order.
func naiveLocked(ctx context.Context, b *testBundle, j joining) error {
	return naive(ctx, b, j, func(ctx context.Context, sql string, args ...any) (done pgconn.CommandTag, err error) {
		err = pgx.BeginFunc(ctx, b.Pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock(hashtext(tag)) from (select unnest($1::text[]) tag order by 1) t", j.tags()); err != nil {
				return err
			}
			done, err = tx.Exec(ctx, sql, args...)
			return err
		})
		return done, err
	})
}

// The conditions that are written first, each under load until a rule is broken.
func TestAppendIf_NaiveConditionsBreakRulesUnderLoad(t *testing.T) {
	t.Parallel()
	schools := map[string]school{"at once": naiveAtOnce}
	if os.Getenv("ROUSE_TRIES") != "" {
		schools["locked"] = naiveLocked // takes minutes to show; TestAppendIf_EventOfASlowCommitIsNotMissed shows it at once
	}
	for name, one := range schools {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			for round := 1; b.ctx.Err() == nil; round++ {
				if events, broken, _ := one.run(t, b, 16, 40); broken > 0 {
					t.Logf("%d of %d events break a rule, in round %d", broken, events, round)
					return
				}
				_, err := b.Pool.Exec(b.ctx, "truncate events, event_tags restart identity")
				require.NoError(t, err)
			}
			t.Fatal("no rule was broken")
		})
	}
}
