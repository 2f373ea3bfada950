package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/rouse-es/rouse/internal/process"
)

// running reports whether one run of postgres has not ended.
func running(p *process.Process) bool {
	select {
	case <-p.Exited:
		return false
	default:
		return true
	}
}

// run starts postgres and waits until it answers. The caller holds mu.
func (s *Server) run(ctx context.Context) error {
	args := arguments(s.dataDir, s.port, s.cluster, s.settings, s.recovery)
	// Not bound to a context: its life is that of the Server.
	cmd := s.keeper.command(context.Background(), s.dataDir, s.bin.postgres(), args...)
	output := &process.Lines{Each: func(line string) { s.log.Debug().Str("line", line).Msg("postgres") }}
	cmd.Stdout = output
	p, err := process.Start(cmd, s.bin.postgres(), process.Options{Output: output, NoInput: true})
	if err != nil {
		return fmt.Errorf("pgserver: %w", err)
	}
	if err := s.waitReady(ctx, p); err != nil {
		quitErr := quit(p)
		return errors.Join(err, quitErr, s.waitExit(context.WithoutCancel(ctx), p))
	}
	s.process = p
	s.log.Info().Int("port", s.port).Int("postgres_major", s.bin.major).Msg("postgres is up")
	return nil
}

// waitReady returns when the server that p is answers.
func (s *Server) waitReady(ctx context.Context, p *process.Process) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	pause := 5 * time.Millisecond
	for {
		err := s.ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.Exited:
			return fmt.Errorf("pgserver: postgres ended while it was starting on port %d (%w); its last lines:\n%s", s.port, p.Wait(), p.Output)
		case <-ctx.Done():
			return fmt.Errorf("pgserver: postgres does not answer on port %d: %w; its last lines:\n%s", s.port, errors.Join(ctx.Err(), err), p.Output)
		case <-time.After(pause):
			pause = min(2*pause, 100*time.Millisecond)
		}
	}
}

// ping asks who is there. Another server on the same port is not an answer.
func (s *Server) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	var cluster string
	err = conn.QueryRow(ctx, "select current_setting('cluster_name')").Scan(&cluster)
	if err == nil && cluster != s.cluster {
		err = fmt.Errorf("pgserver: another server answers on port %d", s.port)
	}
	return errors.Join(err, closeConn(ctx, conn))
}

// waitExit waits until p has ended after it was told to. After crashTimeout it
// is killed; its children notice that and end by themselves.
func (s *Server) waitExit(ctx context.Context, p *process.Process) error {
	select {
	case <-p.Exited:
		return nil
	case <-ctx.Done():
	case <-time.After(crashTimeout):
	}
	err := ignoreDone(p.Signal(os.Kill))
	<-p.Exited
	return err
}

// ignoreDone drops the error of a signal to a process that has ended already.
func ignoreDone(err error) error {
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Stop ends the server in order: clients are disconnected, data that stay are
// complete. It waits for the exit and removes the temporary folder. When ctx
// ends, or after 20 s, it stops at once instead. Further calls do nothing.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keeper == nil {
		return nil
	}
	err := errors.Join(s.thaw(), s.fastStop(ctx))
	s.process = nil
	s.dropSlot(ctx)
	err = errors.Join(err, s.keeper.dismiss(idleTimeout))
	s.keeper = nil
	s.log.Info().Int("port", s.port).Msg("postgres is stopped")
	return err
}

// Halt is a fast stop that keeps the data, also temporary ones, for Restart.
func (s *Server) Halt(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mustRun(); err != nil {
		return err
	}
	err := errors.Join(s.thaw(), s.fastStop(ctx))
	s.process = nil
	return err
}

// Crash stops the server as a failure would (SIGQUIT, PostgreSQL's immediate
// stop): nothing is flushed, and the next start goes through crash recovery. It
// waits for the exit. The data stay for Restart.
func (s *Server) Crash(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mustRun(); err != nil {
		return err
	}
	err := errors.Join(quit(s.process), s.thaw(), s.waitExit(ctx, s.process))
	s.process = nil
	return err
}

// Kill kills postgres and all its backends at once (SIGKILL), so that no process
// of the server can do anything more. It waits until postgres is gone. The data
// stay for Restart, which goes through crash recovery.
func (s *Server) Kill(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mustRun(); err != nil {
		return err
	}
	if s.frozen == nil { // what is frozen makes no process that would be missed
		frozen, err := s.keeper.freeze(s.process.PID())
		if err != nil {
			return err
		}
		s.frozen = frozen
	}
	// The parent last: until it is gone, the ids of its children are theirs.
	slices.Reverse(s.frozen)
	err := killAll(s.frozen)
	s.frozen = nil
	err = errors.Join(err, s.waitExit(ctx, s.process), s.keeper.thaw(nil))
	s.process, s.killed = nil, true
	return err
}

// Restart starts the server again on the same data and port, after Halt, Crash
// or a death of its own. It returns when the server answers.
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keeper == nil {
		return ErrStopped
	}
	if s.process != nil && running(s.process) {
		return ErrRunning
	}
	if err := s.thaw(); err != nil {
		return err
	}
	err := s.run(ctx)
	// Killed backends that are not gone yet hold the shared memory, and postgres
	// does not start beside them, however long they take to end.
	for deadline := time.Now().Add(crashTimeout); err != nil && s.killed && ctx.Err() == nil && (time.Now().Before(deadline) || s.keeper.ending()); {
		err = s.run(ctx)
	}
	s.killed = s.killed && err != nil
	return err
}

// Pause freezes the server and all its backends (SIGSTOP): connections stay
// open, nothing answers. A second Pause does nothing.
func (s *Server) Pause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mustRun(); err != nil {
		return err
	}
	if s.frozen != nil {
		return nil
	}
	frozen, err := s.keeper.freeze(s.process.PID())
	s.frozen = frozen
	return err
}

// Resume ends Pause. Without a Pause it does nothing.
func (s *Server) Resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.thaw()
}

// thaw ends a pause, if there is one. The caller holds mu.
func (s *Server) thaw() error {
	if s.frozen == nil {
		return nil
	}
	frozen := s.frozen
	s.frozen = nil
	return s.keeper.thaw(frozen)
}

// fastStop interrupts postgres and waits. The caller holds mu.
func (s *Server) fastStop(ctx context.Context) error {
	if s.process == nil {
		return nil
	}
	if err := interrupt(s.process); err != nil {
		return fmt.Errorf("pgserver: stopping postgres: %w", err)
	}
	select {
	case <-s.process.Exited:
		return nil
	case <-ctx.Done():
	case <-time.After(stopTimeout):
	}
	s.log.Warn().Msg("postgres did not stop in time, stopping it at once")
	err := quit(s.process)
	return errors.Join(err, s.waitExit(context.WithoutCancel(ctx), s.process))
}

// mustRun returns nil if postgres runs. The caller holds mu.
func (s *Server) mustRun() error {
	switch {
	case s.keeper == nil:
		return ErrStopped
	case s.process == nil:
		return ErrNotRunning
	case !running(s.process):
		return fmt.Errorf("%w; its last lines:\n%s", ErrNotRunning, s.process.Output)
	}
	return nil
}
