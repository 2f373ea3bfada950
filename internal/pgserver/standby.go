package pgserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rouse-es/rouse/internal/randid"
)

// objectInUse is the SQLSTATE of a replication slot that a standby still reads.
const objectInUse = "55006"

// Standby makes a copy of the running server that follows it by streaming,
// asynchronously, on a port of its own and in a temporary folder, and returns
// when the copy answers queries. It needs no pg_basebackup. The caller must Stop
// it. A server with tablespaces cannot be copied.
func (s *Server) Standby(ctx context.Context) (*Server, error) {
	s.mu.Lock()
	err := s.mustRun()
	if err == nil && s.recovery != nil {
		err = errors.New("pgserver: a standby of a standby is not supported; call Promote first")
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	base, err := s.account.temporaryBase()
	if err != nil {
		return nil, err
	}
	id := randid.Hex(6)
	b := &Server{
		log: s.log, bin: s.bin, account: s.account, cluster: "rouse_" + id, settings: maps.Clone(s.settings),
		dataDir: filepath.Join(base, "rouse-postgres-"+id),
		source:  s, slot: "rouse_" + id,
	}
	b.recovery = b.following(s)
	if b.keeper, err = startKeeper(b.account, b.dataDir, "QUIT"); err != nil {
		return nil, err
	}
	err = b.copySource(ctx)
	if err == nil {
		err = b.firstRun(ctx, 0)
	}
	if err != nil {
		return nil, errors.Join(err, b.Stop(context.WithoutCancel(ctx)))
	}
	return b, nil
}

// following are the settings of a standby of source, through slot.
func (s *Server) following(source *Server) map[string]string {
	return map[string]string{
		"primary_conninfo":  fmt.Sprintf("host=127.0.0.1 port=%d user=postgres sslmode=disable passfile=%s", source.port, conninfoValue(s.passPath())),
		"primary_slot_name": s.slot,
	}
}

// Follow starts a server that was halted as the standby of another one, which was its standby and has been promoted since: the
// other half of a switchover. After anything but Halt the two may have parted, and it would not catch up.
func (s *Server) Follow(ctx context.Context, source *Server) error {
	slot := "rouse_" + randid.Hex(6)
	if err := source.exec(ctx, "select pg_create_physical_replication_slot($1, true)", slot); err != nil {
		return fmt.Errorf("pgserver: making a replication slot for the standby: %w", err)
	}
	s.mu.Lock()
	if s.process != nil && running(s.process) {
		s.mu.Unlock()
		return ErrRunning
	}
	s.source, s.slot = source, slot
	s.recovery = s.following(source)
	err := s.writeFile("standby.signal", "")
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if err := s.Restart(ctx); err != nil {
		return err
	}
	// Those of its own time as a primary would keep its log for ever.
	return s.exec(ctx, "select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active")
}

// conninfoValue quotes a value of a connection string of libpq.
func conninfoValue(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

// copySource fills the data folder with an online backup of the source. The
// slot, made before the backup begins, keeps the log that the copy will need.
func (s *Server) copySource(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute) // large data; a fresh server takes about a second
	defer cancel()
	if err := s.source.exec(ctx, "select pg_create_physical_replication_slot($1, true)", s.slot); err != nil {
		return fmt.Errorf("pgserver: making a replication slot for the standby: %w", err)
	}
	// The backup ends with its connection, so it is one and the same throughout.
	conn, err := s.source.connect(ctx)
	if err != nil {
		return fmt.Errorf("pgserver: connecting for the backup: %w", err)
	}
	label, err := s.backup(ctx, conn)
	if err = errors.Join(err, closeConn(ctx, conn)); err != nil {
		return fmt.Errorf("pgserver: copying the data of the server: %w", err)
	}
	return errors.Join(
		s.writeFile("backup_label", label),
		s.writeFile("standby.signal", ""),
	)
}

// backup copies the files between the two calls that make them consistent, and
// returns the label that recovery starts from.
func (s *Server) backup(ctx context.Context, conn *pgx.Conn) (label string, err error) {
	if _, err := conn.Exec(ctx, "select pg_backup_start('rouse standby', true)"); err != nil {
		return "", err
	}
	if err := copyData(ctx, s.source.dataDir, s.dataDir, s.account); err != nil {
		return "", err
	}
	var tablespaces string
	err = conn.QueryRow(ctx, "select labelfile, spcmapfile from pg_backup_stop(false)").Scan(&label, &tablespaces)
	if err == nil && tablespaces != "" {
		err = errors.New("pgserver: the server has tablespaces, which a standby of this package cannot have")
	}
	return label, err
}

// Promote makes a standby a server of its own, which accepts writes, and waits
// until it is one. What the source had not sent yet is lost, as in any failover
// to an asynchronous standby.
func (s *Server) Promote(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mustRun(); err != nil {
		return err
	}
	if s.recovery == nil {
		return errors.New("pgserver: only a standby can be promoted; make one with Standby")
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	conn, err := s.connect(ctx)
	if err == nil {
		_, err = conn.Exec(ctx, "select pg_promote(false)")
		if err == nil {
			err = waitWritable(ctx, conn)
		}
		err = errors.Join(err, closeConn(ctx, conn))
	}
	if err != nil {
		return fmt.Errorf("pgserver: promoting the standby: %w; its last lines:\n%s", err, s.process.Output)
	}
	s.recovery = nil
	s.dropSlot(ctx)
	s.source = nil
	s.log.Info().Int("port", s.port).Msg("standby is promoted")
	return nil
}

func waitWritable(ctx context.Context, conn *pgx.Conn) error {
	for {
		var recovering bool
		if err := conn.QueryRow(ctx, "select pg_is_in_recovery()").Scan(&recovering); err != nil || !recovering {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// dropSlot lets the source of a standby forget it, so that it does not keep its
// log for ever. It is a courtesy: the source may be gone. The caller holds mu and
// has stopped the standby.
func (s *Server) dropSlot(ctx context.Context) {
	if s.source == nil || !s.source.answers() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	for {
		err := s.source.exec(ctx, "select pg_drop_replication_slot($1) from pg_replication_slots where slot_name = $1", s.slot)
		if err == nil {
			return
		}
		// The source may take a moment to notice that its reader is gone.
		var pgErr *pgconn.PgError
		inUse := errors.As(err, &pgErr) && pgErr.Code == objectInUse
		if inUse && pause(ctx, 20*time.Millisecond) {
			continue
		}
		s.log.Debug().Err(err).Msg("the source keeps the replication slot of a stopped standby")
		return
	}
}

// answers says that the server runs and is not paused.
func (s *Server) answers() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mustRun() == nil && s.frozen == nil
}

// pause waits for d and reports whether ctx lasted so long.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
