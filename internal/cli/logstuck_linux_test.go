package cli

import (
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/rouse-es/rouse/internal/testdb"
)

// narrow returns a pipe that holds one page: what a collector of logs that has stopped leaves in a while.
func narrow(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	_, err = unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096)
	require.NoError(t, err)
	return r, w
}

// handles appends events one by one and waits until they are handled.
func handles(t *testing.T, db *testdb.DB, count, total string) {
	t.Helper()
	mustRouse(t, db, "append", "--count", count, "--batch", "1")
	testdb.Eventually(t, processTimeout, total+" events to be handled", func() (done bool, err error) {
		return done, db.Pool.QueryRow(t.Context(), "select coalesce(sum(events), 0) = $1::text::int from scaling_activity", total).Scan(&done)
	})
}

// TestALogThatNobodyReadsHoldsNoBatch: a worker whose standard error is full goes on, and ends in order.
func TestALogThatNobodyReadsHoldsNoBatch(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	r, w := narrow(t)
	p := startWith(t, w, on(db), "worker", "--log-level", "debug", "--log-format", "json")
	require.NoError(t, w.Close())
	testdb.Eventually(t, processTimeout, "the table", func() (there bool, err error) {
		return there, db.Pool.QueryRow(t.Context(), "select to_regclass('scaling_activity') is not null").Scan(&there)
	})
	handles(t, db, "400", "400")
	p.Signal(t, syscall.SIGTERM)
	require.Zero(t, p.Wait(t))
	rest, err := io.ReadAll(r)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(rest), 2048, "the pipe was full")
}

// TestALogWhoseReaderIsGoneEndsNoWorker: it goes on, counts what nobody gets, and leaves in order.
func TestALogWhoseReaderIsGoneEndsNoWorker(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	r, w := narrow(t)
	p := startWith(t, w, on(db), "worker", "--log-level", "debug", "--log-format", "json", "--http", "127.0.0.1:0")
	require.NoError(t, w.Close())
	address := addressIn(t, r)
	require.NoError(t, r.Close())
	handles(t, db, "20", "20")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/metrics", nil)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Regexp(t, `(?m)^rouse_log_lines_dropped_total [1-9]`, string(text))
	p.Signal(t, syscall.SIGTERM)
	require.Zero(t, p.Wait(t))
	require.Zero(t, value[int](t, db.Pool, "select count(*) from projection_workers"), "it has left")
}

// addressIn reads a log until it says where http is served.
func addressIn(t *testing.T, r io.Reader) string {
	t.Helper()
	var text string
	for chunk := make([]byte, 512); ; {
		n, err := r.Read(chunk)
		require.NoError(t, err, text)
		text += string(chunk[:n])
		for line := range strings.Lines(text) {
			if strings.HasSuffix(line, "\n") && strings.Contains(line, "serving http") {
				_, rest, _ := strings.Cut(line, `"address":"`)
				address, _, _ := strings.Cut(rest, `"`)
				return address
			}
		}
	}
}
