package projector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/partition"
)

// Each cause has its own sentence, in the log and for others to read, with what was met. The database does not answer only where it
// does not.
func TestEachCauseHasItsOwnSentence(t *testing.T) {
	t.Parallel()
	code := func(code string) error {
		return fmt.Errorf("rouse: read attempts: %w", &pgconn.PgError{Severity: "ERROR", Code: code, Message: "in its own words"})
	}
	const silent, lock, failed = "the database does not answer", "another session holds a lock", "a statement of the worker failed"
	for _, tc := range []struct {
		err  error
		says string
	}{
		{code("53100"), "the server has no room on its disk"},
		{code("53200"), "the server is out of memory"},
		{code("53300"), "the server or the role has no connection left"},
		{code("53400"), "a limit of the server's configuration"},
		{code("58030"), "the server has a fault of its own"},
		{code("XX001"), "the server has a fault of its own"},
		{code("08P01"), "the pooler has no connection for the worker"},
		{code("42P05"), "a pooler mixes up prepared statements"},
		{code("26000"), "a pooler mixes up prepared statements"},
		{code("28P01"), "the server refuses the login"},
		{code("3D000"), "the server refuses the login"},
		{code("55P03"), lock},
		{code("40P01"), lock},
		{code("57014"), "a statement of the worker was cancelled"},
		{code("25006"), "the database can only be read"},
		{db.ErrStandby, "the database can only be read"},
		{fmt.Errorf("%w: %w", catchup.ErrSource, db.ErrStandby), "the database can only be read"},
		{&pgconn.PgError{Code: "0A000", Routine: "get_relation_info"}, "the database can only be read"},
		{code("0A000"), failed},
		{catchup.ErrHidden, "row level security hides events"},
		{catchup.ErrSource, "the database cannot be the source"},
		{catchup.ErrUnguarded, "standing still until the append trigger is back"},
		{fmt.Errorf("rouse: %w", db.ErrPoolBusy), "the pool has too few connections"},
		{code("23505"), failed},
		{code("22P05"), failed},
		{code(""), failed},
		{errors.New("can't scan into dest[10]"), failed},
		{code("57P01"), silent},
		{code("57P03"), silent},
		{code("08006"), silent},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, silent},
		{fmt.Errorf("rouse: %w", io.ErrUnexpectedEOF), silent},
		{context.DeadlineExceeded, silent},
	} {
		pool, err := pgxpool.New(t.Context(), "postgres://127.0.0.1:1/nowhere") // it connects to nothing by itself
		require.NoError(t, err)
		var log bytes.Buffer
		p := New(Config{Process: Process{Pool: db.In(pool, "")}, Name: "p", Logger: zerolog.New(&log)})
		p.explain(t.Context(), tc.err, backoff.NewExponentialBackOff())
		pool.Close()
		trouble, is := p.Trouble()
		require.True(t, is, tc.says)
		_, wait := p.Check(0)
		require.Contains(t, wait, "projection p handles nothing: "+tc.says)
		require.Contains(t, trouble.Text, tc.says, tc.err)
		require.Contains(t, trouble.Text, tc.err.Error())
		require.Contains(t, log.String(), `"message":"`+tc.says)
		require.Equal(t, Retrying, p.State())
	}
}

// What is built beside a projection meets both when it takes the place, and neither is a second process or a resize then.
func TestWhatIsBuiltBesideIsNotSaidToBeFencedOrResized(t *testing.T) {
	t.Parallel()
	for _, err := range []error{fmt.Errorf("rouse: %w", catchup.ErrFenced), fmt.Errorf("rouse: %w", partition.ErrResized)} {
		for shadow, says := range map[bool]string{true: `"level":"info","message":"what is built beside the projection was moved`, false: "changed"} {
			pool, poolErr := pgxpool.New(t.Context(), "postgres://127.0.0.1:1/nowhere")
			require.NoError(t, poolErr)
			var log bytes.Buffer
			p := New(Config{Process: Process{Pool: db.In(pool, "")}, Name: "p", Role: Role{Shadow: shadow}, Logger: zerolog.New(&log)})
			p.explain(t.Context(), err, backoff.NewExponentialBackOff())
			pool.Close()
			require.Contains(t, log.String(), says, err)
		}
	}
}
