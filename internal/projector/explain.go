package projector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/apply"
	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/migrations"
	"github.com/rouse-es/rouse/partition"
)

// explain logs the end of a session and returns the pause before the next. What keeps the projection from getting on has a sentence
// of its own for each cause, in the log and as the projection's trouble.
func (p *Projector) explain(ctx context.Context, err error, pauses *backoff.ExponentialBackOff) time.Duration {
	p.cfg.Process.Pool.Leave(err)
	switch {
	case err == nil: // partitions are to be shared anew, or the projection to be reset
		return 0
	case p.cfg.Role.Shadow && (errors.Is(err, catchup.ErrFenced) || errors.Is(err, partition.ErrResized)): // as whenever it takes the place
		p.log.Info().Msg("what is built beside the projection was moved, or its partitions were shared anew, looking at it again")
	case errors.Is(err, catchup.ErrFenced):
		p.log.Warn().Msg("a partition has changed hands, the batch is rolled back")
	case errors.Is(err, partition.ErrResized):
		p.log.Info().Msg("the number of partitions has changed, starting over from the checkpoints")
	case apply.Hung(err) != nil:
		p.inTrouble(Retrying, "a handler has not come back, its partitions are given up until it does", nil)
		return 0
	case errors.Is(err, apply.ErrLeaseLost):
		p.inTrouble(Retrying, "the heartbeats do not get through, the partitions are given up until they do", nil)
		p.log.Warn().Msg("the heartbeats do not get through, the partitions are given up until they do")
		return 0
	case errors.Is(err, catchup.ErrIncarnation):
		p.cfg.Process.Pool.Reset() // to a primary that was left behind, and still runs, a connection may lead as well
		p.log.Warn().Msg("the database has restarted after a crash or failed over, starting over from the checkpoints")
		return 0
	case errors.Is(err, catchup.ErrChanged):
		p.log.Warn().Msg("the sequence of events was altered, or the log begun anew: looking at both again")
	default:
		p.explainTrouble(ctx, err)
	}
	return pauses.NextBackOff()
}

// explainTrouble logs what keeps the projection from getting on. First what the worker itself knows, then what the server says.
func (p *Projector) explainTrouble(ctx context.Context, err error) {
	err = db.NameSync(ctx, p.cfg.Process.Pool, err)
	switch {
	case errors.Is(err, db.ErrNoSync):
		p.retrying(p.log.Error(), err, "a commit waits for a synchronous standby that is not there, trying again")
	case errors.Is(err, catchup.ErrUnguarded):
		p.retrying(p.log.Error(), err, "standing still until the append trigger is back")
	case errors.Is(err, db.ErrPoolBusy):
		p.retrying(p.log.Warn(), err, "the pool has too few connections, trying again")
	case errors.Is(err, catchup.ErrSlow):
		p.retrying(p.log.Warn(), err, "a read took too long, the next one asks for less and has longer")
	case errors.Is(err, catchup.ErrHidden):
		p.retrying(p.log.Error(), err, "row level security hides events from the role, standing still until it is off")
	case db.IsStandby(err):
		p.retrying(p.log.Warn(), err, "the database can only be read, trying again until it is the primary")
	case errors.Is(err, catchup.ErrSource):
		p.retrying(p.log.Warn(), err, "the database cannot be the source, trying again until it can")
	case migrations.Lacking(err), errors.Is(err, catchup.ErrSequence):
		if missing := migrations.CheckRights(ctx, p.cfg.Process.Pool); missing != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w: %w", missing, err)
		}
		p.retrying(p.log.Error(), err, "a right or a part of the schema is missing, trying again until somebody grants it or puts it back")
	case errors.Is(err, apply.ErrHeld):
		p.retrying(p.log.Warn(), err, "another session holds a lock that the worker needs, trying again")
	default:
		p.explainServer(err)
	}
}

// explainServer logs what the server says, or that it says nothing.
func (p *Projector) explainServer(err error) {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		if isAway(err) {
			p.retrying(p.log.Warn(), err, "the database does not answer, trying again")
		} else {
			p.retrying(p.log.Warn(), err, "a statement of the worker failed, trying again")
		}
		return
	}
	code := pgErr.Code
	class := code[:min(2, len(code))]
	switch {
	case code == "53100": // disk_full
		p.retrying(p.log.Error(), err, "the server has no room on its disk, trying again until it has")
	case code == "53200": // out_of_memory
		p.retrying(p.log.Warn(), err, "the server is out of memory, trying again")
	case code == "53300": // too_many_connections
		p.retrying(p.log.Warn(), err, "the server or the role has no connection left, trying again")
	case code == "53400": // configuration_limit_exceeded
		p.retrying(p.log.Warn(), err, "a limit of the server's configuration is exceeded, trying again")
	case class == "58", class == "XX": // system_error, internal_error
		p.retrying(p.log.Error(), err, "the server has a fault of its own, trying again")
	case class == "28", code == "3D000": // invalid_authorization_specification, invalid_catalog_name
		p.retrying(p.log.Error(), err, "the server refuses the login, trying again until it does not")
	case code == "55P03", class == "40": // lock_not_available, transaction_rollback
		p.retrying(p.log.Warn(), err, "another session holds a lock that the worker needs, trying again")
	case code == "57014": // query_canceled
		p.retrying(p.log.Warn(), err, "a statement of the worker was cancelled, by its limit or by somebody, trying again")
	case code == db.PoolerRefuses:
		p.retrying(p.log.Warn(), err, "the pooler has no connection for the worker, or refuses what it asks, trying again")
	case code == "26000", code == "42P05": // invalid_sql_statement_name, duplicate_prepared_statement
		p.retrying(p.log.Error(), err, "a pooler mixes up prepared statements, trying again (add default_query_exec_mode=exec to the address)")
	case class == "57", class == "08", code == "25P03", code == "25P04": // shutdowns, broken connections, sessions ended for their time
		p.retrying(p.log.Warn(), err, "the database does not answer, trying again")
	default:
		p.retrying(p.log.Warn(), err, "a statement of the worker failed, trying again")
	}
}

// retrying shows and logs that the projection does not get on, why, and what was met.
func (p *Projector) retrying(line *zerolog.Event, err error, why string) {
	p.inTrouble(Retrying, why, err)
	p.trouble.halted(why)
	line.Err(err).Msg(why)
}

// isAway reports whether err, which no server has said, came of a connection that could not be made, was lost, or stayed silent.
func isAway(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || pgconn.SafeToRetry(err)
}
