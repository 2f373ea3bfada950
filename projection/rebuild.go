package projection

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/rebuild"
)

// buildInterval is how often Rebuild and Promote look how far a build is.
const buildInterval = 100 * time.Millisecond

// promoteTries and promotePause are how often Promote tries again, and how long it lets the live one get on before each.
const (
	promoteTries = 3 // for three quarters of a minute in all
	promotePause = time.Second
)

var (
	// ErrRefused means that a projection cannot be rebuilt, or that what is built cannot take its place, and that waiting mends nothing.
	// The message says why.
	ErrRefused = errors.New("projection: it cannot be done")

	// ErrCancelled means that a rebuild was cancelled before it took the place.
	ErrCancelled = errors.New("projection: the rebuild was cancelled")

	// ErrNoBuild means that nothing of that name is built or kept beside a projection.
	ErrNoBuild = rebuild.ErrNoShadow
)

// Build is a read model that is built, or kept, beside the one of a projection that is live: by a rebuild, or in another version. It is
// a projection of its own, with its own checkpoints, and is in List and in the metrics under its name.
type Build struct {
	// Name is NAME@rebuild, or NAME@VERSION for a version that is not live. Version is that of its handler, and Live that of the projection.
	Name, Projection string
	Version, Live    int

	// From is the position behind which it began, At the one up to which it has handled everything, and Head that of the last event.
	From, At, Head int64

	// Workers is how many living workers run it; 0: none does, and nothing happens. Ready means that its tables are there.
	Workers int
	Ready   bool

	// Swaps means that it takes the place of the live one as soon as it has caught up, and Near that it is about to be, or could be.
	Swaps, Near bool

	// Trouble is what keeps it from being built, or from taking the place, "" if nothing does, and Final that waiting does not mend it.
	Trouble string
	Final   bool

	Since time.Time // when it was asked for, by the clock of the database
}

// Builds returns what is built or kept beside a projection, or with "" beside any, in the order of names.
func Builds(ctx context.Context, pool *pgxpool.Pool, name string) ([]Build, error) {
	var of []string
	if name != "" {
		of = []string{name}
	}
	found, err := rebuild.List(ctx, db.In(pool, ""), of)
	if err != nil {
		return nil, fmt.Errorf("projection: %w", err)
	}
	builds := make([]Build, len(found))
	for i, s := range found {
		builds[i] = buildOf(s)
	}
	return builds, nil
}

func buildOf(s rebuild.Shadow) Build {
	b := Build{
		Name: s.Name, Projection: s.Of, Version: s.Version, Live: s.Live, From: s.From, At: s.Low, Head: s.Head, Workers: s.Members, Ready: s.Ready,
		Swaps: s.Swaps, Near: s.Ready && s.Near(), Trouble: s.Trouble, Final: s.Refused, Since: s.Since,
	}
	if s.Stopped {
		b.Trouble, b.Final = s.StoppedBy, true
	}
	return b
}

// StartRebuild asks for the read model of a projection to be built anew beside the one that is live, from the events behind a start, "" for
// where the projection began. A worker that runs the projection makes the tables (rouse.Tabled), all such workers fill them, as fast as they can,
// and go on with the live one meanwhile. As soon as the new one has caught up, it takes the place of the old one, in one transaction. It
// returns the build; one that is there already goes on, and is returned, or an error that wraps ErrRefused if it began elsewhere than from
// says. An error that wraps ErrPosition means that from is Now, of which
// nothing would be built, or a position beyond the log. An error that wraps catchup.ErrArchived means that events behind
// the start were archived, and that nothing was made. What a projection that began at Now has left out, because it was committed behind an
// append that was open then, a rebuild handles.
func StartRebuild(ctx context.Context, pool *pgxpool.Pool, name string, from Start) (Build, error) {
	if from == catchup.Now {
		return Build{}, fmt.Errorf("%w: a rebuild from now builds nothing, and would put an empty read model into the place of %s "+
			"(if that is wanted, reset it to now: rouse projection reset %s --to now)", ErrPosition, name, name)
	}
	d, err := logOf(ctx, pool)
	if err != nil {
		return Build{}, err
	}
	behind := int64(rebuild.FromStart)
	if from != "" {
		log, err := catchup.Open(ctx, pool)
		if err != nil {
			return Build{}, fmt.Errorf("projection: %w", err)
		}
		origin, err := from.Find(ctx, pool, log)
		if err != nil {
			return Build{}, startError(err)
		}
		behind = origin.Position
	}
	shadow, err := rebuild.Request(ctx, d, name, 0, behind, true)
	if err != nil && !errors.Is(err, rebuild.ErrExists) {
		return Build{}, became(ctx, pool, name, public(err))
	}
	s, err := rebuild.Get(ctx, d, shadow)
	if err == nil && from != "" && s.From != behind {
		return Build{}, fmt.Errorf("%w: a rebuild of %s is under way, from position %d on (projection.CancelRebuild, or rouse projection rebuild %s --cancel, ends it)",
			ErrRefused, name, s.From, name)
	}
	return buildOf(s), public(err)
}

// Rebuild is StartRebuild, and waits until the new read model has taken the place. progress is called with each look at it, on the
// goroutine of the caller; nil: nobody is told. When ctx ends, the build goes on; CancelRebuild ends it. Its error wraps ErrRefused
// where the projection cannot be rebuilt, and then nothing is left of the build, and ErrCancelled where an operator has cancelled it.
func Rebuild(ctx context.Context, pool *pgxpool.Pool, name string, from Start, progress func(Build)) error {
	b, err := StartRebuild(ctx, pool, name, from)
	if err != nil {
		return err
	}
	for {
		if progress != nil {
			progress(b)
		}
		if b.Final {
			if b.Ready {
				return fmt.Errorf("%w: %s (what is built so far stays until the rebuild is cancelled)", ErrRefused, b.Trouble)
			}
			return errors.Join(fmt.Errorf("%w: %s", ErrRefused, b.Trouble), CancelRebuild(ctx, pool, name)) // nothing was built
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(buildInterval):
		}
		since := b.Since
		s, err := rebuild.Get(ctx, db.In(pool, ""), b.Name)
		switch {
		case errors.Is(err, rebuild.ErrNoShadow):
			done, err := rebuild.Replaced(ctx, db.In(pool, ""), name, since)
			if err == nil && !done {
				err = ErrCancelled
			}
			return became(ctx, pool, name, public(err))
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return public(err)
		}
		b = buildOf(s)
	}
}

// CancelRebuild ends a rebuild, and removes what it has built. The live projection is not concerned.
func CancelRebuild(ctx context.Context, pool *pgxpool.Pool, name string) error {
	return DropBuild(ctx, pool, rebuild.NameOf(name, 0))
}

// DropBuild removes what is built or kept beside a projection, by its name: NAME@rebuild or NAME@VERSION. Workers that still have that
// version leave the projection alone from then on; one with a version above the live one begins to build it again.
func DropBuild(ctx context.Context, pool *pgxpool.Pool, build string) error {
	d, err := logOf(ctx, pool)
	if err != nil {
		return err
	}
	return public(rebuild.Drop(ctx, d, build))
}

// Promoted is what a promotion has done.
type Promoted struct {
	Version int    // that is live now
	Kept    string // under which name what was live before goes on
}

// Promote puts a version of a projection into the place of the one that is live, in one transaction with the checkpoints: its workers go
// on with it, and those of the version that was live go on with that one beside, so that it can be promoted back. 0 is the version beside it, if
// there is one. It has to have caught up; Promote tries for three quarters of a minute, or until ctx ends, and nothing has changed if it returns an error: ErrRefused where
// waiting does not mend it, ErrNoBuild where there is no such version.
func Promote(ctx context.Context, pool *pgxpool.Pool, name string, version int) (Promoted, error) {
	d, err := logOf(ctx, pool)
	if err != nil {
		return Promoted{}, err
	}
	shadow, err := versionBeside(ctx, d, name, version)
	if err != nil {
		return Promoted{}, became(ctx, pool, name, err)
	}
	try := rebuild.FirstTry
	done, err := rebuild.Swap(ctx, d, shadow, try)
	for range promoteTries {
		try = min(2*try, rebuild.LongestTry)
		if !errors.Is(err, rebuild.ErrBehind) && !errors.Is(err, rebuild.ErrLocked) && !errors.Is(err, rebuild.ErrBusy) || ctx.Err() != nil {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(promotePause): // in which the live one gets on
			done, err = rebuild.Swap(ctx, d, shadow, try)
		}
	}
	return Promoted{Version: done.Version, Kept: done.Kept}, public(err)
}

// versionBeside returns the shadow of a version of a projection; 0: the one that there is.
func versionBeside(ctx context.Context, d db.DB, name string, version int) (string, error) {
	found, err := rebuild.List(ctx, d, []string{name})
	if err != nil {
		return "", public(err)
	}
	var shadow string
	for _, s := range found {
		switch {
		case s.IsRebuild(), version != 0 && s.Version != version:
		case shadow != "":
			return "", fmt.Errorf("%w: there are several versions beside %s (name the one)", ErrRefused, name)
		default:
			shadow = s.Name
		}
	}
	if shadow != "" {
		return shadow, nil
	}
	live, err := rebuild.Versions(ctx, d, []string{name})
	switch {
	case err != nil:
		return "", public(err)
	case live[name] == 0:
		return "", fmt.Errorf("%w: %s", ErrNoProjection, name)
	case version == live[name]:
		return "", fmt.Errorf("%w: version %d of %s is live already", ErrRefused, version, name)
	case version == 0:
		return "", fmt.Errorf("%w: no other version of %s is built or kept (start a worker that has one)", ErrNoBuild, name)
	}
	return "", fmt.Errorf("%w: version %d of %s (start a worker that has it)", ErrNoBuild, version, name)
}

// logOf returns pool with the schema of its log, by which the schemas of builds are named.
func logOf(ctx context.Context, pool *pgxpool.Pool) (*db.Pool, error) {
	log, err := catchup.Open(ctx, pool)
	if err != nil {
		return nil, fmt.Errorf("projection: %w", err)
	}
	return db.In(pool, log.Schema), nil
}

// public returns err with the sentinels of this package.
func public(err error) error {
	var refusal *rebuild.Refusal
	switch {
	case err == nil || errors.Is(err, ErrCancelled):
		return err
	case errors.As(err, &refusal):
		return fmt.Errorf("%w: %s", ErrRefused, refusal.Why)
	case errors.Is(err, ErrNoProjection), errors.Is(err, ErrNoBuild):
		return err
	case errors.Is(err, rebuild.ErrPosition):
		return fmt.Errorf("%w: %w", ErrPosition, err)
	}
	return fmt.Errorf("projection: %w", db.Archived(err))
}
