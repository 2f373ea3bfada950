package partition

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrMixed means that static and elastic workers were to share one projection.
var ErrMixed = errors.New("partition: static and elastic workers cannot share a projection")

// Standing is how the partitions of a projection are held at one moment.
type Standing struct {
	Projection string

	// Owners has the owning instance of each partition, "" for nobody, and Alive whether it counts as alive.
	Owners []string
	Alive  []bool

	// Paused means that nobody may handle anything of it for now, and Reset that it is to start over, as RequestReset says.
	Paused, Reset bool

	// Members are the living members that run the projection, in the order in which they joined.
	Members []Peer

	// Barrier is the position beyond which nothing is to be handled for now, because partitions are to be joined. NoBarrier:
	// there is none.
	Barrier int64
}

// NoBarrier is beyond every position.
const NoBarrier = math.MaxInt64

// Peer is a living member, as others see it.
type Peer struct {
	Candidate
	Static, Leaving bool
}

// Look reads how a projection stands.
func Look(ctx context.Context, pool *pgxpool.Pool, projection string) (Standing, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	s := Standing{Projection: projection}
	var batch pgx.Batch
	batch.Queue(sqlMembers, projection).Query(func(rows pgx.Rows) (err error) {
		s.Members, err = pgx.CollectRows(rows, scanPeer)
		return err
	})
	batch.Queue(sqlOwners, projection).Query(func(rows pgx.Rows) error {
		var partition int
		var owner string
		var alive bool
		_, err := pgx.ForEachRow(rows, []any{&partition, &owner, &alive}, func() error {
			s.Owners, s.Alive = append(s.Owners, owner), append(s.Alive, alive)
			return nil
		})
		return err
	})
	batch.Queue(sqlState, projection).QueryRow(func(row pgx.Row) error {
		var barrier *int64
		if err := row.Scan(&s.Paused, &s.Reset, &barrier); err != nil {
			return err
		}
		s.Barrier = NoBarrier
		if barrier != nil {
			s.Barrier = *barrier
		}
		return nil
	})
	if err := pool.SendBatch(ctx, &batch).Close(); err != nil {
		return Standing{}, fmt.Errorf("partition: look who shares %s: %w", projection, err)
	}
	return s, nil
}

func scanPeer(row pgx.CollectableRow) (Peer, error) {
	var p Peer
	var avoids string
	if err := row.Scan(&p.Instance, &p.Static, &p.Max, &p.Leaving, &avoids); err != nil {
		return Peer{}, err
	}
	// What cannot be read is another binary's, and no reason to stand still.
	_ = json.Unmarshal([]byte(avoids), &p.Avoids)
	return p, nil
}

// Mixed returns an error that wraps ErrMixed if a member of the other kind joined before this instance. Of two that meet,
// the one that came later has to go, by the clock of the database.
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

// Plan is how partitions should be shared, from the point of view of one member.
type Plan struct {
	// Mine are the partitions that it should own.
	Mine []int

	// Nobody is how many nobody may take, because every member has reached its Max or avoids them.
	Nobody int

	// Settled means that everybody owns what they should. While claims are under way the plan may still change, for what does
	// not divide goes to whoever owns most at the moment, so whoever sees it unsettled has to look again.
	Settled bool
}

// Plan is what Assign says of the elastic members that are not about to leave. avoids are the partitions that the instance
// avoids at this moment, which is newer than what its row says.
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
	plan := Plan{Mine: []int{}, Settled: true}
	for p, target := range Assign(s.Owners, candidates) {
		switch {
		case target == "":
			plan.Nobody++
			continue
		case target == instance:
			plan.Mine = append(plan.Mine, p)
		}
		plan.Settled = plan.Settled && s.Owners[p] == target
	}
	return plan
}

// Has tells whether an instance is among the living members.
func (s Standing) Has(instance string) bool {
	for _, m := range s.Members {
		if m.Instance == instance {
			return true
		}
	}
	return false
}

// Owned are the partitions that an instance owns.
func (s Standing) Owned(instance string) []int {
	owned := []int{}
	for p, owner := range s.Owners {
		if owner == instance {
			owned = append(owned, p)
		}
	}
	return owned
}

// Free tells whether any of some partitions could be claimed by an instance that does not own it yet, and whether any of
// them belongs to an instance that is dead.
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

// First tells whether an instance is the first of the elastic members, which is the one to speak for all.
func (s Standing) First(instance string) bool {
	for _, m := range s.Members {
		if !m.Static && !m.Leaving {
			return m.Instance == instance
		}
	}
	return false
}

// Terminate ends the sessions of dead instances that own partitions of a projection, where the role may.
func Terminate(ctx context.Context, pool *pgxpool.Pool, projection string) (sessions int, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if err := pool.QueryRow(ctx, sqlTerminate, projection).Scan(&sessions); err != nil {
		return 0, fmt.Errorf("partition: end the sessions of dead workers of %s: %w", projection, err)
	}
	return sessions, nil
}
