package listener

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// refusedFor is how long S is tried again where it was refused. Appends that probe hold it for microseconds.
	refusedFor = 2 * time.Second

	// minPause and maxPause bound the pauses between these tries.
	minPause = 2 * time.Millisecond
	maxPause = 50 * time.Millisecond

	// atOnce is the number of logs that are armed in one round trip.
	atOnce = 100

	// A transaction may have locked a sequence whose value is wanted. Where logs share the connection, one that cannot be armed
	// takes lockShare of the time of the others, all of them lockSum, though each has minLockShare.
	lockAlone    = 2 * time.Second
	lockSum      = 200 * time.Millisecond
	minLockShare = 10 * time.Millisecond
)

// errRefused means that S was not to be had: another session holds it alone, or waits to.
var errRefused = errors.New("another session holds the sleepers' lock alone, or waits to (in pg_locks: classid 1919907155, objid the oid of events)")

// arm takes S for seats and reads the heads, in this order, and publishes the positions up to which readers must see
// everything settled before they sleep. It never waits for S, which a stranger may hold for long, and so nobody waits for one
// log: where it is refused, look tries again. A log that cannot be armed is left to poll, and tried again when the next probe
// arrives. If there is no other, the connection is given up.
func (h *handler) arm(ctx context.Context, seats []*seat) error {
	var failed error
	for len(seats) > 0 {
		some := seats[:min(len(seats), atOnce)]
		seats = seats[len(some):]
		errs, err := h.armSome(ctx, some)
		if err != nil {
			return err
		}
		failed = errors.Join(failed, errs)
	}
	if len(h.in(waiting)) == len(h.seats) {
		return failed
	}
	return nil
}

// armSome is arm for as many seats as one round trip is for. failed has the errors of logs, err that of the connection.
func (h *handler) armSome(ctx context.Context, seats []*seat) (failed, err error) {
	batch := []group{{{sqlLockTimeout, []string{strconv.FormatInt(h.lockShare(len(seats)).Milliseconds(), 10)}}}}
	for _, s := range seats {
		batch = append(batch, group{
			{sqlArm, []string{strconv.FormatInt(int64(s.l.cfg.lockKey()), 10)}},
			{sqlArmedHead, []string{strconv.FormatUint(uint64(s.l.cfg.Sequence), 10)}},
		})
	}
	results, err := h.send(ctx, batch)
	if err == nil {
		err = results[0].err
	}
	if err != nil {
		return nil, fmt.Errorf("listener: arm: %w", err)
	}
	var held []*seat
	for i, s := range seats {
		r := results[1+i]
		taken := len(r.values) > 0 && r.values[0] == "t"
		switch {
		case r.err != nil:
			if taken {
				held = append(held, s)
			}
			h.cannotArm(s, r.err)
			failed = errors.Join(failed, fmt.Errorf("listener: arm: %w", r.err))
		case !taken:
			h.refuse(s)
		default:
			head, err := strconv.ParseInt(r.values[1], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("listener: arm: %w", err)
			}
			s.phase, s.said = armed, false
			s.l.armed(head)
		}
	}
	return failed, h.release(ctx, held, waiting)
}

// lockShare returns how long each of n logs may wait for a lock.
func (h *handler) lockShare(n int) time.Duration {
	if len(h.seats) == 1 {
		return lockAlone
	}
	return max(lockSum/time.Duration(n), minLockShare)
}

// refuse takes in that S was refused to s. It is tried again for refusedFor.
func (h *handler) refuse(s *seat) {
	now := time.Now()
	if s.phase != refused {
		s.refused = now
	}
	tried := now.Sub(s.refused)
	if tried >= refusedFor {
		h.cannotArm(s, errRefused)
		return
	}
	s.again = now.Add(min(max(tried, minPause), maxPause))
	s.to(refused)
}

// cannotArm leaves s to poll until the next probe, and says why, once.
func (h *handler) cannotArm(s *seat, err error) {
	s.to(waiting)
	if !s.said {
		s.said = true
		s.l.cfg.Log.Warn().Err(err).Msg("cannot arm: appends wake nobody, polling; tried again every few seconds")
	}
}

// release releases S for seats, and leaves them in phase p.
func (h *handler) release(ctx context.Context, seats []*seat, p phase) error {
	if len(seats) == 0 {
		return nil
	}
	batch := make([]group, 0, len(seats))
	for _, s := range seats {
		batch = append(batch, group{{sqlDisarm, []string{strconv.FormatInt(int64(s.l.cfg.lockKey()), 10)}}})
	}
	results, err := h.send(ctx, batch)
	for _, r := range results {
		err = errors.Join(err, r.err)
	}
	if err != nil {
		return fmt.Errorf("listener: release the sleepers' lock: %w", err)
	}
	for _, s := range seats {
		if p != torrent {
			s.to(p)
			continue
		}
		s.phase = torrent
		s.l.setMode(Torrent)
	}
	return nil
}

// query is one statement that returns one value, and its parameters.
type query struct {
	sql  string
	args []string
}

// group is statements that are one transaction.
type group []query

// result is what came of a group: one value for each statement, up to the first that failed.
type result struct {
	values []string
	err    error
}

// send sends all groups in one round trip. An error of one group is in its result, and ends no other; the error returned means
// that the connection is lost.
func (h *handler) send(ctx context.Context, groups []group) ([]result, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	p := h.conn.PgConn().StartPipeline(ctx)
	for _, g := range groups {
		for _, q := range g {
			args := make([][]byte, len(q.args))
			for i, arg := range q.args {
				args[i] = []byte(arg)
			}
			p.SendQueryParams(q.sql, args, nil, nil, nil)
		}
		p.SendPipelineSync()
	}
	results := make([]result, len(groups))
	err := p.Flush()
	for i := 0; i < len(groups) && err == nil; i++ {
		results[i], err = receive(p)
	}
	if closeErr := p.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	return results, nil
}

// errNoResult means that the server has ended the session in the middle.
var errNoResult = errors.New("the session has ended")

// receive receives the results of one group.
func receive(p *pgconn.Pipeline) (r result, err error) {
	for {
		got, err := p.GetResults()
		switch got := got.(type) {
		case *pgconn.PipelineSync:
			return r, nil
		case *pgconn.ResultReader:
			value := ""
			for got.NextRow() {
				value = string(got.Values()[0])
			}
			if _, err = got.Close(); err == nil {
				r.values = append(r.values, value)
			}
		case nil:
			if err == nil {
				err = errNoResult
			}
		}
		if pgErr := (*pgconn.PgError)(nil); err != nil && !errors.As(err, &pgErr) {
			return r, err
		}
		r.err = errors.Join(r.err, err)
	}
}
