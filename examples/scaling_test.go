//go:build unix

package examples_test

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strconv"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/scaling"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
)

// builtIn handles what is there with the built-in projection, as `rouse worker --once` does.
func (s *scene) builtIn() {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	require.NoError(s, scaling.Ensure(ctx, s.db.Pool))
	require.NoError(s, workertest.Drain(s, s.db.Pool, rouse.Config{Projections: []rouse.Projection{scaling.Projection{Label: "built-in"}}, Label: "built-in"}))
}

// example handles what is there with the example, and returns it after it was stopped.
func (s *scene) example() *program {
	s.Helper()
	p := s.start("scaling", "--worker-id=7")
	testdb.Eventually(s, patience, "all to be counted", func() (bool, error) {
		v, err := scaling.Judge(s.Context(), s.db.Pool)
		return v.Complete(), err
	})
	p.interrupt()
	return p
}

// complete wants that so many events were counted, once and in turn.
func (s *scene) complete(events int) {
	s.Helper()
	v, err := scaling.Judge(s.Context(), s.db.Pool)
	require.NoError(s, err)
	require.True(s, v.Complete(), "%+v", v)
	require.EqualValues(s, events, v.Counted)
}

func testTurns(s *scene) {
	s.run("scaling", "--append")
	require.Len(s, s.example().lines("Processing: User"), 20)
	s.run("scaling", "--append")
	s.builtIn()
	s.complete(40)
	require.Equal(s, 20, s.int("select count(*) from scaling_activity where worker_id = 'built-in'"))
	s.run("scaling", "--append")
	p := s.example()
	require.Len(s, p.lines("Processing: User"), 20)
	require.Equal(s, []string{"[Worker 7] Stopped after 20 events"}, p.lines("Stopped"))
	s.complete(60)
	require.Equal(s, 20, s.int("select count(*) from scaling_activity where worker_id = '7' and last_version = 3"))
}

// testSameReadModel gives one log, with versions out of turn, to both.
func testSameReadModel(s *scene) {
	other := &scene{db: testdb.New(s.T), T: s.T, bin: s.bin}
	var tables, columns [2]string
	for i, side := range []*scene{s, other} {
		side.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
			select 'thing', id, version, 'Happened', '[1]' from (values ('whole', 1), ('whole', 2), ('late', 3), ('late', 4), ('hole', 1), ('hole', 4)) v (id, version)`)
		if side == s {
			p := side.start("scaling", "--worker-id=7")
			p.prints(6, "Processing: Happened (aggregate: ")
			p.interrupt()
		} else {
			side.builtIn()
		}
		require.NoError(s, side.db.Pool.QueryRow(s.Context(), `select string_agg((aggregate_type, aggregate_id, events, last_version, out_of_order)::text, ' ' order by aggregate_id)
			from scaling_activity`).Scan(&tables[i]))
		require.NoError(s, side.db.Pool.QueryRow(s.Context(), `select string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull), ', ' order by attnum) ||
				(select ' ' || pg_get_constraintdef(c.oid) from pg_constraint c where c.conrelid = 'scaling_activity'::regclass)
			from pg_attribute where attrelid = 'scaling_activity'::regclass and attnum > 0`).Scan(&columns[i]))
	}
	require.Equal(s, columns[1], columns[0])
	require.Equal(s, tables[1], tables[0])
	require.Equal(s, "(thing,hole,2,4,1) (thing,late,2,4,1) (thing,whole,2,2,0)", tables[0])
}

// testCommitted lets the database refuse the first three counts of one user: what was rolled back with them must not be
// printed twice.
func testCommitted(s *scene) {
	s.example()
	s.exec("create sequence refusals")
	s.exec(`create function refuse() returns trigger language plpgsql as $$ begin
		if new.aggregate_id like '3f8a2b1c%' and nextval('refusals') <= 3 then raise 'not yet'; end if; return new; end $$`)
	s.exec("create trigger refuse before insert on scaling_activity for each row execute function refuse()")
	s.run("scaling", "--append")
	p := s.example()
	require.Greater(s, s.int("select last_value from refusals"), 3)
	lines := p.lines("Processing: User")
	require.Len(s, lines, 20)
	users := map[string]bool{}
	for _, line := range lines {
		m := regexp.MustCompile(`^\[Worker 7\] Processing: (User \d+) \(aggregate: [0-9a-f]{8}\) - Worker total: \d+$`).FindStringSubmatch(line)
		require.NotNil(s, m, line)
		users[m[1]] = true
	}
	require.Len(s, users, 20)
	require.Equal(s, []string{"[Worker 7] Stopped after 20 events"}, p.lines("Stopped"))
}

// testShares adds workers one by one, and takes one away again.
func testShares(s *scene) {
	share := regexp.MustCompile(`^\[Worker (\d)\] Share: (\d+) %, (\d+) of 32 partitions$`)
	// are waits until each of these workers has said such a share last, and checks that they have everything together.
	are := func(percent int, workers ...*program) {
		s.Helper()
		testdb.Eventually(s, patience, fmt.Sprintf("%d workers to have %d %% each", len(workers), percent), func() (bool, error) {
			partitions := 0
			for _, w := range workers {
				lines := w.lines("] Share: ")
				if len(lines) == 0 {
					return false, nil
				}
				m := share.FindStringSubmatch(lines[len(lines)-1])
				require.NotNil(s, m, lines)
				said, err := strconv.Atoi(m[2])
				require.NoError(s, err)
				if said < percent-3 || said > percent+3 { // 32 partitions among three are 11, 11 and 10
					return false, nil
				}
				n, err := strconv.Atoi(m[3])
				require.NoError(s, err)
				partitions += n
			}
			return partitions == 32, nil
		})
	}
	var workers []*program
	for i, percent := range []int{100, 50, 33, 25} {
		workers = append(workers, s.start(fmt.Sprintf("WORKER_ID=%d", i), "scaling"))
		are(percent, workers...)
	}
	workers[0].interrupt()
	are(33, workers[1:]...)
}

func testAppenders(s *scene) {
	load := s.start("scaling", "--append", "--rate", "200")
	load.prints(1, "Appending 200 events per second")
	var once []*program
	for range 4 {
		once = append(once, s.start("scaling", "--worker-id=0", "--append"))
	}
	for _, p := range once {
		require.Zero(s, p.Wait(s), "%s", &p.Stderr)
		require.Equal(s, "Appended 20 events, one for each of 20 users\n", p.Stdout.String())
	}
	testdb.Eventually(s, patience, "the rate to go through all users", func() (bool, error) { return s.int("select count(*) from events") > 200, nil })
	require.Regexp(s, `^Appended [1-9]\d+ events$`, load.interrupt())
	require.Equal(s, 20, s.int("select count(*) from (select from events group by aggregate_id having max(aggregate_version) = count(*) and count(*) > 4) u"))
	require.Equal(s, 20, s.int("select count(distinct slot & 31) from events"), "each user is in a partition of its own")
	s.example()
	s.complete(s.int("select count(*) from events"))
}

func testRefusals(s *scene) {
	u, err := url.Parse(s.db.URL)
	require.NoError(s, err)
	address := func(change func(u *url.URL)) string {
		v := *u
		change(&v)
		return "DATABASE_URL=" + v.String()
	}
	nowhere := address(func(u *url.URL) { u.Host, u.User = "127.0.0.1:1", url.UserPassword("postgres", "s3cret") })
	missing := address(func(u *url.URL) { u.Path = "/no_such_database" })
	empty := address(func(u *url.URL) { u.Path = "/" + testdb.Empty(s.T).Name })
	// What is wrong with the command line is said before the database is asked.
	for _, c := range []struct {
		code         int
		parts, words []string
	}{
		{3, []string{"127.0.0.1:1", "DATABASE_URL"}, []string{nowhere, "scaling"}},
		{3, []string{"no_such_database", "create it"}, []string{missing, "scaling", "--append"}},
		{4, []string{"cd ../basic && go generate", "rouse migrate"}, []string{empty, "scaling"}},
		{3, []string{"the address of the database cannot be read"}, []string{"DATABASE_URL=postgres://a:s3cret@h:port/x", "scaling"}},
		{64, []string{"4 is not below the 4 workers"}, []string{"WORKER_ID=4", "TOTAL_WORKERS=4", "scaling"}},
		{64, []string{`"left" is neither N nor NAME-N`}, []string{"WORKER_ID=left", "TOTAL_WORKERS=4", "scaling"}},
		{1, []string{"TOTAL_WORKERS=4 needs WORKER_ID"}, []string{"TOTAL_WORKERS=4", "scaling"}},
		{1, []string{`TOTAL_WORKERS or --total-workers is "four"`}, []string{"TOTAL_WORKERS=four", "scaling", "--worker-id=0"}},
		{1, []string{"--rate 3 goes with --append"}, []string{"scaling", "--rate=3"}},
		{1, []string{"--rate -1"}, []string{"scaling", "--append", "--rate=-1"}},
		{1, []string{`"WORKER_ID=3" is not a flag`}, []string{"scaling", "WORKER_ID=3"}},
	} {
		s.fault(c.code, c.parts, c.words...)
	}
	require.Zero(s, s.int("select count(*) from events"))
}
