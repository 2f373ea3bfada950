package rouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/projector"
	"github.com/rouse-es/rouse/internal/rebuild"
)

const (
	// shadowLook is how often a worker looks whether a shadow may take the place of the live one.
	shadowLook = 500 * time.Millisecond

	// shadowNear is how many positions a shadow may be behind for that: a fast handler does as many in some milliseconds.
	shadowNear = 2000

	// shadowAgain is the pause after which it tries again what has failed.
	shadowAgain = 5 * time.Second
)

// shadows runs the shadows of the projections of a worker: what is built beside them, by rebuilds and for other versions. It follows what
// is written in the database, at every change of the membership. Its methods may be called by many goroutines; run is for one.
type shadows struct {
	w      *Worker
	log    zerolog.Logger
	events catchup.Log
	units  map[string]unit // by name
	names  []string

	again map[string]time.Time     // by shadow: when to try again what has failed; for run alone
	tries map[string]time.Duration // by shadow: how long the last swap has tried; for run alone
	lacks map[string]bool          // by projection: its version cannot be built, because the log is not whole; for run alone

	mu      sync.Mutex // protects running
	running map[string]*shadow
	all     sync.WaitGroup // of the goroutines of running; run waits for them
}

// shadow is one that runs here, or has ended in a way that only a new worker mends.
type shadow struct {
	*projector.Projector
	since time.Time // when it was asked for
	ended bool
}

// taking returns the projectors that take part now: those of the versions that are live, and of shadows.
func (w *Worker) taking() []*projector.Projector {
	all := w.shadows.projectors()
	for _, p := range w.projectors {
		if !p.Resting() {
			all = append(all, p)
		}
	}
	return all
}

// newShadows returns the shadows of w, whose projectors it has made.
func newShadows(w *Worker, log catchup.Log) *shadows {
	s := &shadows{
		w: w, log: w.log, events: log, units: map[string]unit{}, again: map[string]time.Time{}, tries: map[string]time.Duration{}, lacks: map[string]bool{},
		running: map[string]*shadow{},
	}
	for _, u := range w.units {
		s.units[u.name], s.names = u, append(s.names, u.name)
	}
	return s
}

// begin finds out which projectors have to rest, because another version is live.
func (s *shadows) begin(ctx context.Context) error {
	for _, u := range s.w.units {
		if u.version > 1 {
			if err := rebuild.Adopt(ctx, s.w.db, u.name, u.version); err != nil {
				return fmt.Errorf("rouse: look at the version of %s: %w", u.name, err)
			}
		}
	}
	live, err := rebuild.Versions(ctx, s.w.db, s.names)
	if err != nil {
		return fmt.Errorf("rouse: %w", err)
	}
	for _, p := range s.w.projectors {
		p.Rest(live[p.Name()])
	}
	return nil
}

// projectors returns those of the shadows that run.
func (s *shadows) projectors() []*projector.Projector {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*projector.Projector
	for _, one := range s.running {
		if !one.ended {
			all = append(all, one.Projector)
		}
	}
	return all
}

// run follows what is asked for until ctx ends, and waits for the shadows. workCtx is for what is in hand then.
func (s *shadows) run(ctx, workCtx context.Context) {
	defer s.all.Wait()
	s.know(ctx)
	for {
		changed := s.w.control.Changed()
		var again <-chan time.Time
		if pause := s.look(ctx, workCtx); pause > 0 {
			again = time.After(pause)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-again:
		}
	}
}

// know writes down which tables the projections have whose version is live, for who replaces them.
func (s *shadows) know(ctx context.Context) {
	for _, p := range s.w.projectors {
		u := s.units[p.Name()]
		if len(u.tables) == 0 || p.Resting() {
			continue
		}
		if err := rebuild.Known(ctx, s.w.db, s.w.presence, u.name, u.version, u.tables); err != nil && ctx.Err() == nil {
			s.log.Debug().Err(err).Str(keyProjection, u.name).Msg("cannot write down which tables a projection has")
		}
	}
}

// look does what is to be done by now, and returns after how long to look again, 0: not before something changes.
func (s *shadows) look(ctx, workCtx context.Context) (again time.Duration) {
	found, err := rebuild.List(ctx, s.w.db, s.names)
	if err == nil {
		err = s.bring(ctx, found)
	}
	if err != nil {
		if ctx.Err() == nil {
			s.log.Warn().Err(err).Msg("cannot look what is to be built beside the projections, trying again")
		}
		return shadowAgain
	}
	if len(s.lacks) > 0 { // an operator may put back what is archived
		again = shadowAgain
	}
	s.forget(found)
	for _, one := range found {
		u := s.units[one.Of]
		switch {
		case one.Version != u.version, one.Refused, one.Paused && !one.Ready:
		case !one.Ready:
			again = shadowAgain
			s.prepare(ctx, u, one)
		default:
			s.start(ctx, workCtx, u, one)
			if one.Swaps {
				again = shadowLook
				s.swap(ctx, one)
			}
		}
	}
	return again
}

// bring asks for the shadows of versions that this worker brings.
func (s *shadows) bring(ctx context.Context, found []rebuild.Shadow) error {
	var newer []string
	for name, u := range s.units {
		if u.version > 1 && len(u.tables) > 0 {
			newer = append(newer, name)
		}
	}
	for _, one := range found {
		newer = without(newer, func(name string) bool { return one.Name == rebuild.NameOf(name, s.units[name].version) })
	}
	for name := range s.lacks {
		if !slices.Contains(newer, name) {
			delete(s.lacks, name)
		}
	}
	if len(newer) == 0 {
		return nil
	}
	live, err := rebuild.Versions(ctx, s.w.db, newer)
	if err != nil {
		return err
	}
	for _, name := range newer {
		if live[name] == 0 || live[name] >= s.units[name].version {
			delete(s.lacks, name)
		} else if err := s.request(ctx, name, live[name]); err != nil {
			return err
		}
	}
	return nil
}

// request asks for the shadow of the version of a projection that this worker brings. Where that one cannot be built, or is gone, the
// others can.
func (s *shadows) request(ctx context.Context, name string, live int) error {
	version := s.units[name].version
	_, err := rebuild.Request(ctx, s.w.db, name, version, rebuild.FromStart, s.w.cfg.PromoteCaughtUp)
	if errors.Is(err, catchup.ErrArchived) {
		if !s.lacks[name] {
			s.log.Warn().Err(err).Str(keyProjection, name).Int("version", version).Msg("a version above the live one cannot be built beside it yet, trying again")
		}
		s.lacks[name] = true
		return nil
	}
	delete(s.lacks, name)
	switch {
	case err == nil:
		s.log.Info().Str(keyProjection, name).Int("version", version).Int("live", live).Msg("a version above the live one is built beside it")
	case errors.Is(err, rebuild.ErrExists), errors.Is(err, rebuild.ErrNoProjection):
		return nil
	}
	return err
}

// without returns the names of which drop does not hold.
func without(names []string, drop func(name string) bool) (left []string) {
	for _, name := range names {
		if !drop(name) {
			left = append(left, name)
		}
	}
	return left
}

// forget forgets those that have ended and are not there any more.
func (s *shadows) forget(found []rebuild.Shadow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, one := range s.running {
		there := false
		for _, f := range found {
			there = there || f.Name == name && f.Since.Equal(one.since)
		}
		if one.ended && !there {
			delete(s.running, name)
		}
	}
}

// prepare makes the tables of a shadow.
func (s *shadows) prepare(ctx context.Context, u unit, one rebuild.Shadow) {
	if time.Now().Before(s.again[one.Name]) {
		return
	}
	var err error
	plan := rebuild.Plan{Tables: u.tables}
	switch {
	case u.effect:
		err = &rebuild.Refusal{Why: u.name + " is an effect, and is not done again"}
	case len(u.tables) == 0:
		err = &rebuild.Refusal{Why: "the handler of " + u.name + " does not name its tables (implement rouse.Tabled)"}
	default:
		if !one.IsRebuild() {
			plan.Create = u.create
		}
		err = rebuild.Prepare(ctx, s.w.db, s.w.presence, one, plan)
	}
	if s.note(ctx, one, err) {
		s.log.Warn().Err(err).Str(keyProjection, one.Name).Msg("cannot make the tables of what is to be built beside a projection")
	}
}

// swap puts a shadow into the place of the live one if it has caught up.
func (s *shadows) swap(ctx context.Context, one rebuild.Shadow) {
	if !one.Near() || !s.caughtUp(one) || one.Stopped || one.Paused || time.Now().Before(s.again[one.Name]) {
		return
	}
	try := max(s.tries[one.Name], rebuild.FirstTry)
	done, err := rebuild.Swap(ctx, s.w.db, one.Name, try)
	delete(s.tries, one.Name)
	if errors.Is(err, rebuild.ErrBehind) {
		s.tries[one.Name] = min(2*try, rebuild.LongestTry)
	}
	if err == nil {
		s.log.Info().Str(keyProjection, done.Live).Int("version", done.Version).Msg("what was built beside the projection has taken its place")
		return
	}
	if errors.Is(err, rebuild.ErrNoShadow) {
		return // another worker was faster
	}
	var refusal *rebuild.Refusal
	if errors.As(err, &refusal) {
		err = errors.New(refusal.Why) // an operator may mend it, and then it takes the place
	}
	if s.note(ctx, one, err) {
		s.log.Warn().Err(err).Str(keyProjection, one.Name).Msg("what was built beside a projection cannot take its place yet, trying again")
	}
}

// caughtUp reports whether a shadow has read everything in this worker, or nearly, so that it comes to a barrier at once.
func (s *shadows) caughtUp(one rebuild.Shadow) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	here, is := s.running[one.Name]
	return is && !here.ended && (here.State() == projector.Live || here.Reached() >= 0 && one.Head-here.Reached() <= shadowNear)
}

// note writes down what has kept a shadow from getting on, nil if nothing has, and when to try again. It reports whether nobody has said
// so yet.
func (s *shadows) note(ctx context.Context, one rebuild.Shadow, trouble error) (first bool) {
	if trouble == nil || ctx.Err() != nil {
		return false
	}
	s.again[one.Name] = time.Now().Add(shadowAgain)
	if errors.Is(trouble, rebuild.ErrBusy) || trouble.Error() == one.Trouble {
		return false
	}
	if err := rebuild.NoteTrouble(ctx, s.w.db, one.Name, trouble); err != nil && ctx.Err() == nil {
		s.log.Debug().Err(err).Str(keyProjection, one.Name).Msg("cannot write down what keeps a shadow from getting on")
	}
	return true
}

// start runs a shadow, unless it does run, or has ended in a way that only a new worker mends.
func (s *shadows) start(ctx, workCtx context.Context, u unit, one rebuild.Shadow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have, is := s.running[one.Name]; is && (!have.ended || have.since.Equal(one.Since)) {
		return
	}
	cfg := s.w.projectorConfig(s.events, u.shadow(one.Name))
	cfg.Role.Shadow, cfg.Partitions = true, 0
	cfg.Process.Pool, cfg.Process.Joint = s.w.db.Behind(one.Schema), nil
	started := &shadow{Projector: projector.New(cfg), since: one.Since}
	s.running[one.Name] = started
	s.w.control.Beat() // so that the others know that it takes part
	// Owned by run, which waits for all.
	s.all.Go(func() {
		err := started.Run(ctx, workCtx)
		s.mu.Lock()
		defer s.mu.Unlock()
		started.ended = true
		if err == nil && s.running[one.Name] == started {
			delete(s.running, one.Name)
		}
		s.w.control.Beat()
	})
}
