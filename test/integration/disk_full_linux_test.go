package integration_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/pgserver"
	"github.com/rouse-es/rouse/internal/testdb"
)

// smallDisk mounts a disk of some megabytes that the account of a server may use, until the end of the test.
func smallDisk(t *testing.T, server *pgserver.Server, megabytes int) string {
	t.Helper()
	dir := filepath.Join(server.DataDir(), "small_disk")
	require.NoError(t, os.Mkdir(dir, 0o700))
	options := fmt.Sprintf("size=%dm,mode=0700", megabytes)
	if cred := accountOf(t, server).Credential; cred != nil {
		options += fmt.Sprintf(",uid=%d,gid=%d", cred.Uid, cred.Gid)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		t.Skip("only root can mount a small disk, so nothing is said of a disk that is full")
	} else {
		require.NoError(t, err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fill takes all that is left of a disk, until free.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	for block := make([]byte, 64<<10); len(block) > 0; {
		if _, err = f.Write(block); err != nil {
			require.ErrorIs(t, err, syscall.ENOSPC)
			block = block[:len(block)/2]
		}
	}
	return func() { require.NoError(t, os.Remove(path)) }
}

// The disk of the tables fills up under load: nothing can be appended, and no read model written. When there is room again,
// everything that was committed is handled, once and in order, and no event is blamed.
func TestDiskThatIsFullForAWhile(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t, map[string]string{"autovacuum": "off"})
	s := newStage(t, testdb.On(t, server))
	disk := smallDisk(t, server, 48)
	s.exec("create tablespace small location '" + disk + "'")
	s.exec("alter table all in tablespace pg_default set tablespace small")
	s.exec("alter index all in tablespace pg_default set tablespace small")
	log := &journal{}
	w := s.start(s.pool(s.URL), rouse.Config{
		Projections: []rouse.Projection{batchRecorder{recorder{name: "batched"}}, recorder{name: "single"}},
		Effects:     []rouse.Effect{&outside{done: map[string]int{}}},
		Retries:     -1, Log: zerolog.New(log),
	}).started()
	load := s.startLoad(s.pool(s.URL), 4, time.Millisecond)
	load.more(t, 100)

	free := fill(t, disk)
	testdb.Eventually(t, patience, "the worker to have no room", func() (bool, error) {
		return log.has("warn", "No space left on device"), nil
	})
	w.until("batched", rouse.StateRetrying)
	w.until("single", rouse.StateRetrying)
	free()
	load.more(t, 100)
	load.stop()
	for _, projection := range []string{"batched", "single"} {
		s.exact(projection)
	}
	s.caughtUp("outside", patience)
	s.durable(load)
	require.Zero(t, s.int("select count(*) from parked_events"))
	require.Zero(t, s.int("select count(*) from event_attempts"))
	w.stop()
}
