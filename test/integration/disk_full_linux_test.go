package integration_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/pgserver"
	"github.com/rouse-es/rouse/internal/testdb"
)

// smallDisk mounts a disk of some megabytes that the account of a server may use, until the end of the test.
func smallDisk(t *testing.T, server *pgserver.Server, name string, megabytes int) string {
	t.Helper()
	dir := filepath.Join(server.DataDir(), name)
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

// noRoom is what the server says when it has no room for what is written: by the handler, or by a claim before it.
const noRoom = "could not extend file"

// gated is a recorder of whole batches that waits at a gate.
type gated struct {
	batchRecorder
	gate *sync.RWMutex
}

func (g gated) ApplyBatch(ctx context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	g.gate.RLock()
	defer g.gate.RUnlock()
	return g.batchRecorder.ApplyBatch(ctx, batch, events)
}

// A disk fills up under load: that of all tables, so that nothing can be appended, noted or saved, or that of the read model
// alone. When there is room again, everything that was committed is handled, once and in order, and no event is blamed.
func TestDiskThatIsFullForAWhile(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t, map[string]string{"autovacuum": "off"})
	for name, move := range map[string][]string{
		"all":  {"alter table all in tablespace pg_default set tablespace all_disk", "alter index all in tablespace pg_default set tablespace all_disk"},
		"read": {"alter table seen set tablespace read_disk"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, testdb.On(t, server))
			disk := smallDisk(t, server, name+"_disk", 48)
			s.exec("create tablespace " + name + "_disk location '" + disk + "'")
			for _, sql := range move {
				s.exec(sql)
			}
			s.livesThroughAFullDisk(disk)
		})
	}
}

func (s *stage) livesThroughAFullDisk(disk string) {
	t := s.t
	log := &journal{}
	gate := &sync.RWMutex{}
	hook := func(context.Context, pgx.Tx, eventstore.Event) error {
		gate.RLock()
		defer gate.RUnlock()
		return nil
	}
	w := s.start(s.pool(s.URL), rouse.Config{
		Projections: []rouse.Projection{gated{batchRecorder{recorder{name: "batched"}}, gate}, recorder{name: "single", hook: hook}},
		Effects:     []rouse.Effect{&outside{done: map[string]int{}}},
		Retry:       rouse.RetryPolicy{Tries: 1}, Log: zerolog.New(log), // an event that is blamed once is parked
	}).WaitStarted()
	load := s.startLoad(s.pool(s.URL), 4, time.Millisecond)
	load.more(t, 100)

	gate.Lock() // so that there is more to write than there is room in the pages that are there
	_, err := s.Pool.Exec(s.ctx, appendSQL, "many", 2000)
	require.NoError(t, err)
	free := fill(t, disk)
	gate.Unlock()
	testdb.Eventually(t, patience, "both to have no room, again and again", func() (bool, error) {
		return log.count(`"projection":"batched"`, noRoom) > 2 && log.count(`"projection":"single"`, noRoom) > 2, nil
	})
	w.WaitState("batched", rouse.StateRetrying)
	w.WaitState("single", rouse.StateRetrying)
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
	w.MustStop()
}
