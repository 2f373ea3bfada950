package integration_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
)

// handled are the positions that a projection has handled, in the order in which it did.
func (s *stage) handled(projection string) []int64 {
	s.t.Helper()
	rows, err := s.Pool.Query(s.ctx, "select global_position from seen where projection = $1 order by n", projection)
	require.NoError(s.t, err)
	positions, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	require.NoError(s.t, err)
	return positions
}

// inOrder waits for the end of the log and says that everything in it was handled in the order of the log.
func (s *stage) inOrder(projection string) {
	s.t.Helper()
	s.exact(projection)
	rows, err := s.Pool.Query(s.ctx, "select global_position from events order by global_position")
	require.NoError(s.t, err)
	positions, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	require.NoError(s.t, err)
	require.Equal(s.t, positions, s.handled(projection))
}

type slowCommit struct {
	*stage
	w     *running
	reads *reads
}

func setupSlowCommit(t *testing.T) *slowCommit {
	t.Helper()
	s := &slowCommit{stage: newStage(t, testdb.New(t))}
	s.begin()
	return s
}

func (s *slowCommit) begin() {
	s.t.Helper()
	pool, reads := s.watchedPool(s.URL)
	s.reads = reads
	s.w = s.start(pool, rouse.Config{Projections: []rouse.Projection{recorder{name: "r"}}}).WaitStarted()
}

func TestSlowCommitIsHandledInItsPlace(t *testing.T) {
	t.Parallel()
	s := setupSlowCommit(t)
	first := s.append(s.Pool, "a")
	slow, _ := s.open("b")
	for _, aggregate := range []string{"a", "c", "c"} {
		s.append(s.Pool, aggregate)
	}
	s.eventually(patience, "what is below the hole", "select count(*) >= 1 from seen")
	s.reads.again(t)
	require.Equal(t, []int64{first}, s.handled("r"), "what is above the hole must wait")
	s.naiveCursor()
	require.NoError(t, slow.Commit(s.ctx))
	s.inOrder("r")
}

// naiveCursor shows that a reader of "position above my checkpoint" has already passed the hole.
func (s *slowCommit) naiveCursor() {
	s.t.Helper()
	require.Positive(s.t, s.int(`select count(*) from events e where global_position > 1 and not exists (
		select from events p where p.global_position = e.global_position - 1)`), "there must be a hole below committed events, or nothing is shown")
}

func TestHoleInMidBatchHoldsOnlyWhatIsAboveIt(t *testing.T) {
	t.Parallel()
	s := setupSlowCommit(t)
	s.w.MustStop()
	below := []int64{s.append(s.Pool, "a"), s.append(s.Pool, "b")}
	slow, _ := s.open("c")
	s.append(s.Pool, "a")
	s.append(s.Pool, "b")
	s.begin() // so that one read meets all of it
	s.reads.again(t)
	s.eventually(patience, "what is below the hole", "select count(*) >= 2 from seen")
	require.Equal(t, below, s.handled("r"))
	require.NoError(t, slow.Commit(s.ctx))
	s.inOrder("r")
}

// A rollback notifies nobody, so what waits above it has to be looked after, and much more often than at the polls behind a
// proven push, of which the first comes a second after the last event.
func TestEventsAboveARollbackFlowAtOnce(t *testing.T) {
	t.Parallel()
	s := setupSlowCommit(t)
	testdb.Eventually(t, patience, "the push to be proven", func() (bool, error) { return s.w.Status().Mode == "quiet", nil })
	prompt := 0
	const wanted = 3
	for round := 0; prompt < wanted && round < 30; round++ { // a machine that is busy may need more
		slow, _ := s.open("a")
		s.append(s.Pool, "b")
		s.reads.again(t)
		began := time.Now()
		require.NoError(t, slow.Rollback(s.ctx))
		s.eventually(patience, "the event above the rollback", "select count(*) = (select count(*) from events) from seen")
		if time.Since(began) < 400*time.Millisecond {
			prompt++
		}
	}
	require.Equal(t, wanted, prompt, "events above a rollback must not wait for a poll")
	s.inOrder("r")
}

func TestWorkerRestartedWhileAnAppendIsOpenLosesNothing(t *testing.T) {
	t.Parallel()
	s := setupSlowCommit(t)
	rolledBack, _ := s.open("a")
	slow, _ := s.open("b")
	s.append(s.Pool, "c")
	s.reads.again(t)
	s.w.MustStop()
	s.append(s.Pool, "c")
	s.begin()
	s.reads.again(t)
	require.Empty(t, s.handled("r"))
	require.NoError(t, rolledBack.Rollback(s.ctx))
	s.reads.again(t)
	require.Empty(t, s.handled("r"))
	require.NoError(t, slow.Commit(s.ctx))
	s.inOrder("r")
}

// Transactions that do not append delay nothing, whatever they have written and wherever.
func TestForeignTransactionsDelayNothing(t *testing.T) {
	t.Parallel()
	s := setupSlowCommit(t)
	s.exec("create table other (n int)")
	elsewhere := testdb.New(t)
	for _, db := range []*testdb.DB{s.DB, elsewhere} {
		tx, err := db.Conn(t).Begin(s.ctx)
		require.NoError(t, err)
		if db == elsewhere { // an append, but to another log
			require.NoError(t, tx.QueryRow(s.ctx, appendSQL, "x", 1).Scan(nil))
		} else {
			_, err = tx.Exec(s.ctx, "insert into other values (1)")
			require.NoError(t, err)
		}
	}
	dead, _ := s.open("a")
	require.NoError(t, dead.Rollback(s.ctx))
	position := s.append(s.Pool, "a") // above a hole, so that the reader has to ask who could still fill it
	s.eventually(patience, "the event to be handled while they are open", "select exists (select from seen where global_position = $1)", position)
	require.True(t, s.int("select pg_snapshot_xmin(pg_current_snapshot())::text::bigint") <= s.int("select xmin::text::bigint from events"),
		"a reader that waits for the oldest transaction must still be waiting, or nothing is shown")
	s.inOrder("r")
}
