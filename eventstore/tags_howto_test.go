package eventstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
)

var (
	errThere = errors.New("is in the course already")
	errFull  = errors.New("the course has no seat")
	errBusy  = errors.New("the student has no time")
)

// join puts a student into a course, if the course has a seat and the student has time.
func join(ctx context.Context, pool *pgxpool.Pool, course, student string) error {
	joined := []string{"Joined"}
	events, condition, err := eventstore.ReadTagged(ctx, pool,
		eventstore.Match{Tags: []string{"course:" + course}},
		eventstore.Match{Tags: []string{"student:" + student}, Types: joined})
	if err != nil {
		return err
	}
	var seats, taken, courses int
	for _, ev := range events {
		var e struct{ Course, Student, Seats any }
		if err := json.Unmarshal(ev.Payload, &e); err != nil {
			return err
		}
		if ev.Type == "SeatsChanged" {
			seats = int(e.Seats.(float64))
			continue
		}
		if e.Course == course && e.Student == student {
			return errThere
		}
		if e.Course == course {
			taken++
		}
		if e.Student == student {
			courses++
		}
	}
	switch {
	case taken >= seats:
		return errFull
	case courses >= 3:
		return errBusy
	}
	payload, err := json.Marshal(map[string]string{"course": course, "student": student})
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		_, err := eventstore.AppendIf(ctx, tx, condition, eventstore.Stream{Type: "course", ID: course}, eventstore.Tagged{
			NewEvent: eventstore.NewEvent{Type: "Joined", Payload: payload},
			Tags:     []string{"course:" + course, "student:" + student},
		})
		return err
	})
}

// joinAtLast decides again until nobody was faster.
func joinAtLast(ctx context.Context, pool *pgxpool.Pool, course, student string) (err error) {
	for range 50 {
		err = join(ctx, pool, course, student)
		if !errors.Is(err, eventstore.ErrConflict) && !errors.Is(err, eventstore.ErrRetryTransaction) {
			return err
		}
	}
	return err
}

// takeName registers a user under a name that nobody else has.
func takeName(ctx context.Context, tx pgx.Tx, user, name string) error {
	free := eventstore.NoEvents(eventstore.Match{Tags: []string{"name:" + name}, Types: []string{"NameTaken"}})
	_, err := eventstore.AppendIf(ctx, tx, free, eventstore.Stream{Type: "user", ID: user}, eventstore.Tagged{
		NewEvent: eventstore.NewEvent{Type: "NameTaken", Payload: json.RawMessage(`{}`)},
		Tags:     []string{"name:" + name},
	})
	return err
}

const boundaryPage = "../docs/howto/consistency-boundary.md"

// blocks returns the blocks of a language of the page.
func blocks(t *testing.T, language string) (out []string) {
	t.Helper()
	page, err := os.ReadFile(boundaryPage)
	require.NoError(t, err)
	for _, m := range regexp.MustCompile("(?s)\n```"+language+"\n(.*?\n)```\n").FindAllStringSubmatch(string(page), -1) {
		out = append(out, m[1])
	}
	require.NotEmpty(t, out)
	return out
}

// The code of the page is this file's, and does what the page says.
func TestConsistencyBoundaryPageRuns(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("tags_howto_test.go")
	require.NoError(t, err)
	for _, block := range blocks(t, "go") {
		require.True(t, strings.Contains(string(source), "\n"+block), "no test runs this block of the page:\n%s", block)
	}
	b := setup(t)
	for _, sql := range blocks(t, "sql") {
		_, err := b.Pool.Exec(b.ctx, sql)
		require.NoError(t, err)
	}
	for course := range 5 {
		event := eventstore.Tagged{
			NewEvent: eventstore.NewEvent{Type: "SeatsChanged", Payload: json.RawMessage(fmt.Sprintf(`{"course": "%d", "seats": 4}`, course))},
			Tags:     []string{fmt.Sprint("course:", course)},
		}
		require.NoError(t, b.decide(eventstore.NoEvents(all(event.Tags[0])), eventstore.Stream{Type: "course", ID: fmt.Sprint(course)}, event))
	}
	// Ten students at five courses of four seats, three courses each at most: 20 of the 30 wishes come true.
	var wg sync.WaitGroup
	for student := range 10 {
		wg.Go(func() {
			for course := range 5 {
				err := joinAtLast(b.ctx, b.Pool, fmt.Sprint(course), fmt.Sprint(student))
				if !errors.Is(err, errFull) && !errors.Is(err, errBusy) {
					assert.NoError(t, err)
				}
			}
		})
	}
	wg.Wait()
	var joined, most, full int
	require.NoError(t, b.Pool.QueryRow(b.ctx, `with joined as (select payload ->> 'course' as course, payload ->> 'student' as student from events where event_type = 'Joined')
		select (select count(*) from joined), (select max(n) from (select count(*) n from joined group by student) s),
		       (select max(n) from (select count(*) n from joined group by course) c)`).Scan(&joined, &most, &full))
	require.LessOrEqual(t, most, 3)
	require.LessOrEqual(t, full, 4)
	require.Positive(t, joined)
	require.NoError(t, joinAtLast(b.ctx, b.Pool, "42", "new"))
	require.ErrorIs(t, joinAtLast(b.ctx, b.Pool, "42", "new"), errThere)

	take := func(user string) error {
		return pgx.BeginFunc(b.ctx, b.Pool, func(tx pgx.Tx) error { return takeName(b.ctx, tx, user, "ada") })
	}
	require.NoError(t, take("1"))
	require.ErrorIs(t, take("2"), eventstore.ErrConflict)
}
