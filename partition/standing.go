package partition

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/internal/db"
)

// ErrMixed means that static and elastic workers were to share one projection.
var ErrMixed = errors.New("partition: static and elastic workers cannot share a projection")

// Standing is the division of a projection's partitions at one moment.
type Standing struct {
	Projection string

	// Owners has the owning instance of each partition, "" for none, and Alive whether that instance counts as alive.
	Owners []string
	Alive  []bool

	// Paused means that no worker may handle an event of it for now, and Reset that it is to start over, as
	// projection.Reset requests.
	Paused, Reset bool

	// Stopped means that a worker has stopped it and none has taken it up since.
	Stopped bool

	// Version is the version of the projection that is live. A worker that has another one leaves it alone.
	Version int

	// Members are the living members that run the projection, in the order in which they joined.
	Members []Peer

	// Barrier is the position beyond which no event is to be handled for now, because partitions are to be joined.
	// NoBarrier: there is none.
	Barrier int64
}

// NoBarrier is a position beyond every event.
const NoBarrier = math.MaxInt64

// Peer is a living member, as the others see it.
type Peer struct {
	Candidate
	Static, Leaving bool
}

// Look reads the standing of a projection, in one round trip.
func Look(ctx context.Context, d db.DB, projection string) (Standing, error) {
	standings, err := LookAll(ctx, d, []string{projection})
	if err != nil {
		return Standing{}, err
	}
	s, is := standings[projection]
	if !is {
		return Standing{}, fmt.Errorf("partition: look who shares %s: %w", projection, pgx.ErrNoRows)
	}
	return s, nil
}

// LookAll reads the standings of some projections, in one round trip. A projection that does not exist is left out.
func LookAll(ctx context.Context, d db.DB, projections []string) (map[string]Standing, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var found standings
	var batch pgx.Batch
	batch.Queue(db.BeginRead)
	db.QueueSettings(&batch, statementTimeout)
	batch.Queue(sqlMembers.For(d), projections).Query(func(rows pgx.Rows) error { return found.scanMembers(rows) })
	batch.Queue(sqlOwners.For(d), projections).Query(func(rows pgx.Rows) error { return found.scanOwners(rows) })
	batch.Queue(sqlState.For(d), projections).Query(func(rows pgx.Rows) error { return found.scanStates(rows) })
	batch.Queue("commit")
	conn, err := db.Acquire(ctx, d)
	if err == nil {
		err = conn.SendBatch(ctx, &batch).Close()
		conn.Release()
	}
	if err != nil {
		return nil, fmt.Errorf("partition: look who shares %s: %w", listed(projections), err)
	}
	return found.all, nil
}

// listed returns names for a message.
func listed(names []string) string {
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d others", names[0], len(names)-1)
	}
	return strings.Join(names, ", ")
}

// standings are what LookAll has read so far. Only the states say which projections there are; they are read last.
type standings struct {
	members map[string][]Peer
	owned   map[string]ownership
	all     map[string]Standing
}

// ownership is a row of owners.sql.
type ownership struct {
	owners []string
	alive  []bool
}

// scanMembers reads the rows of members.sql.
func (s *standings) scanMembers(rows pgx.Rows) error {
	s.members = map[string][]Peer{}
	var projection, avoids string
	var p Peer
	_, err := pgx.ForEachRow(rows, []any{&projection, &p.Instance, &p.Static, &p.Max, &p.Leaving, &avoids}, func() error {
		p.Avoids = nil
		// What cannot be read is another binary's, and no reason to stand still.
		_ = json.Unmarshal([]byte(avoids), &p.Avoids)
		s.members[projection] = append(s.members[projection], p)
		return nil
	})
	return err
}

// scanOwners reads the rows of owners.sql.
func (s *standings) scanOwners(rows pgx.Rows) error {
	s.owned = map[string]ownership{}
	for rows.Next() {
		var projection string
		var o ownership
		if err := rows.Scan(&projection, &o.owners, &o.alive); err != nil {
			return err
		}
		s.owned[projection] = o
	}
	return rows.Err()
}

// scanStates reads the rows of state.sql, with which the standings are complete.
func (s *standings) scanStates(rows pgx.Rows) error {
	s.all = map[string]Standing{}
	for rows.Next() {
		var one Standing
		var barrier *int64
		if err := rows.Scan(&one.Projection, &one.Paused, &one.Reset, &barrier, &one.Stopped, &one.Version); err != nil {
			return err
		}
		one.Barrier = NoBarrier
		if barrier != nil {
			one.Barrier = *barrier
		}
		one.Members, one.Owners, one.Alive = s.members[one.Projection], s.owned[one.Projection].owners, s.owned[one.Projection].alive
		s.all[one.Projection] = one
	}
	return rows.Err()
}

// Mixed returns an error that wraps ErrMixed if a member of the other kind joined before instance, nil otherwise. Of
// two kinds that meet, the one that came later has to go, by the clock of the database.
func (s Standing) Mixed(instance string, static bool) error {
	for _, m := range s.Members {
		switch {
		case m.Instance == instance:
			return nil
		case m.Static == static || m.Leaving:
		case static:
			return fmt.Errorf("%w: elastic workers run %s (start this one without TOTAL_WORKERS, or stop them first)", ErrMixed, s.Projection)
		default:
			return fmt.Errorf("%w: static workers run %s (give this one a WORKER_ID and TOTAL_WORKERS too, or stop them first)", ErrMixed, s.Projection)
		}
	}
	return nil
}

// Plan is the assignment that a projection should have, from the point of view of one member.
type Plan struct {
	// Mine are the partitions that it should own.
	Mine []int

	// Nobody is the number of partitions that no member may take, because each has reached its Max or avoids them.
	Nobody int

	// Balanced means that every member owns the partitions that it should. While claims are under way the plan may
	// still change, for the remainder of the division goes to the members that own most at the moment, so a member that
	// sees it unbalanced has to look again.
	Balanced bool
}

// Plan returns the result of Assign for the elastic members that are not about to leave. avoids are the partitions that
// instance avoids at this moment, which is newer than its row.
func (s Standing) Plan(instance string, avoids []int) Plan {
	var candidates []Candidate
	for _, m := range s.Members {
		if m.Static || m.Leaving {
			continue
		}
		if m.Instance == instance {
			m.Avoids = avoids
		}
		candidates = append(candidates, m.Candidate)
	}
	plan := Plan{Mine: []int{}, Balanced: true}
	for p, target := range Assign(s.Owners, candidates) {
		switch {
		case target == "":
			plan.Nobody++
			continue
		case target == instance:
			plan.Mine = append(plan.Mine, p)
		}
		plan.Balanced = plan.Balanced && s.Owners[p] == target
	}
	return plan
}

// Has reports whether instance is among the living members.
func (s Standing) Has(instance string) bool {
	for _, m := range s.Members {
		if m.Instance == instance {
			return true
		}
	}
	return false
}

// Owned returns the partitions that instance owns, rising.
func (s Standing) Owned(instance string) []int {
	owned := []int{}
	for p, owner := range s.Owners {
		if owner == instance {
			owned = append(owned, p)
		}
	}
	return owned
}

// Free reports whether instance could claim any of partitions that it does not own yet, and whether any of those
// belongs to an instance that is dead.
func (s Standing) Free(partitions []int, instance string) (free, dead bool) {
	for _, p := range partitions {
		if p >= len(s.Owners) || s.Owners[p] == instance || s.Alive[p] {
			continue
		}
		free = true
		dead = dead || s.Owners[p] != ""
	}
	return free, dead
}

// First reports whether instance is the first of the elastic members, which logs on behalf of all.
func (s Standing) First(instance string) bool {
	for _, m := range s.Members {
		if !m.Static && !m.Leaving {
			return m.Instance == instance
		}
	}
	return false
}

// Terminate ends the sessions of dead instances that own partitions of a projection, as far as the role may, and
// returns their number.
func Terminate(ctx context.Context, d db.DB, projection string) (sessions int, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if err := db.QueryRow(ctx, d, []any{&sessions}, sqlTerminate.For(d), projection); err != nil {
		return 0, fmt.Errorf("partition: end the sessions of dead workers of %s: %w", projection, err)
	}
	return sessions, nil
}
