package rebuild

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/internal/db"
)

// statementTimeout bounds each statement, and each transaction that only reads or writes a few rows.
const statementTimeout = db.Timeout

// near is how many positions a shadow may be behind the end of the log for it to be brought to the place of the live one. The
// checkpoints of partitions without events stand back by some thousands while events come to others.
const near = 20_000

var (
	// ErrNoProjection means that there is no live projection of a name.
	ErrNoProjection = errors.New("projection: there is no such projection")

	// ErrNoShadow means that there is no shadow of a name.
	ErrNoShadow = errors.New("projection: there is nothing of that name beside the projection")

	// ErrExists means that the shadow is there already.
	ErrExists = errors.New("the shadow is there already")

	// ErrPosition means that a position is beyond the log.
	ErrPosition = errors.New("the position is beyond the last event")
)

// Refusal is a condition under which a shadow cannot be made or take the place, and which trying again does not mend.
type Refusal struct{ Why string }

func (r *Refusal) Error() string { return r.Why }

// refuse returns a Refusal.
func refuse(format string, args ...any) error { return &Refusal{Why: fmt.Sprintf(format, args...)} }

// Mark separates the name of a projection from what tells its shadow from it. No projection of a user has it in its name.
const Mark = "@"

// ForRebuild is what the name of a shadow ends with that is of the live version.
const ForRebuild = "rebuild"

// NameOf returns the name of the shadow of a version of a projection; 0: of a rebuild.
func NameOf(projection string, version int) string {
	if version == 0 {
		return projection + Mark + ForRebuild
	}
	return projection + Mark + strconv.Itoa(version)
}

// LiveOf returns the name of the projection that a shadow is of, and name itself if it is that of no shadow.
func LiveOf(name string) string {
	live, _, _ := strings.Cut(name, Mark)
	return live
}

// Shadow is a shadow at one moment.
type Shadow struct {
	Name, Of      string
	Version, Live int // its version, and that of the projection
	Tables        []string
	Schema        string // of its tables, "" while they are not there
	From          int64  // behind which position it began

	Ready   bool   // its tables are there
	Swaps   bool   // it takes the place by itself
	Trouble string // what keeps it from being made, or from taking the place
	Refused bool   // trying again mends nothing

	Paused, Stopped bool
	StoppedBy       string // why it is stopped

	Low               int64     // its lowest checkpoint
	LiveLow, LiveHigh int64     // the lowest and highest checkpoint of the projection
	Head              int64     // the last event
	Members           int       // living workers that run it
	Since             time.Time // when it was asked for
}

// IsRebuild reports whether the shadow is of the version that is live.
func (s Shadow) IsRebuild() bool { return s.Name == NameOf(s.Of, 0) }

// Near reports whether the shadow is so near to the end that it may take the place.
func (s Shadow) Near() bool { return max(s.LiveHigh, s.Head)-s.Low <= near }

// List returns the shadows of some projections; nil: all.
func List(ctx context.Context, d db.DB, of []string) ([]Shadow, error) {
	return list(ctx, d, of, nil)
}

// Get returns one shadow. Its error wraps ErrNoShadow if there is none.
func Get(ctx context.Context, d db.DB, name string) (Shadow, error) {
	found, err := list(ctx, d, nil, &name)
	switch {
	case err != nil:
		return Shadow{}, err
	case len(found) == 0:
		return Shadow{}, fmt.Errorf("%w: %s", ErrNoShadow, name)
	}
	return found[0], nil
}

func list(ctx context.Context, d db.DB, of []string, only *string) (shadows []Shadow, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	err = db.Query(ctx, d, func(rows pgx.Rows) error {
		for rows.Next() {
			var s Shadow
			if err := rows.Scan(&s.Name, &s.Of, &s.Version, &s.Live, &s.Tables, &s.Schema, &s.From, &s.Ready, &s.Swaps, &s.Trouble, &s.Refused,
				&s.Paused, &s.Stopped, &s.StoppedBy, &s.Low, &s.LiveLow, &s.LiveHigh, &s.Head, &s.Members, &s.Since); err != nil {
				return err
			}
			shadows = append(shadows, s)
		}
		return rows.Err()
	}, sqlList.For(d), of, only)
	if err != nil {
		return nil, fmt.Errorf("look at the shadows: %w", err)
	}
	return shadows, nil
}

// Versions returns which version of each of some projections is live. One that does not exist is left out.
func Versions(ctx context.Context, d db.DB, of []string) (map[string]int, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	live := map[string]int{}
	err := db.Query(ctx, d, func(rows pgx.Rows) error {
		var name string
		var version int
		_, err := pgx.ForEachRow(rows, []any{&name, &version}, func() error {
			live[name] = version
			return nil
		})
		return err
	}, sqlVersions.For(d), of)
	if err != nil {
		return nil, fmt.Errorf("look at the versions of the projections: %w", err)
	}
	return live, nil
}

// Adopt makes a version of a projection the live one if nothing has been done by any yet.
func Adopt(ctx context.Context, d db.DB, projection string, version int) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	return db.Tx(ctx, d, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sqlAdopt.For(d), projection, version)
		return err
	})
}

// FromStart has a shadow begin where its projection began.
const FromStart = -1

// Request makes a shadow of a projection that begins behind a position, or FromStart, in a version, 0 for a rebuild of the live one. swaps says that
// it takes the place as soon as it has caught up. It returns its name, and an error that wraps ErrExists if it is there already, or
// db.ErrArchived if the log is not whole behind the position, and then nothing is made.
func Request(ctx context.Context, d db.DB, projection string, version int, from int64, swaps bool) (name string, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	name = NameOf(projection, version)
	var exists, has, made bool
	var live int
	err = db.Tx(ctx, d, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, sqlRequest.For(d), projection, name, version, from, swaps, db.SchemaOf(d)).Scan(&exists, &live, &has, &made, nil)
	})
	switch {
	case err != nil:
		return name, fmt.Errorf("ask for %s: %w", name, db.Archived(err))
	case !exists:
		return name, fmt.Errorf("%w: %s", ErrNoProjection, projection)
	case !has:
		return name, fmt.Errorf("%w: %d", ErrPosition, from)
	case !made:
		return name, fmt.Errorf("%w: %s", ErrExists, name)
	}
	return name, nil
}

// Replaced reports whether a shadow has taken the place of a projection since a time.
func Replaced(ctx context.Context, d db.DB, projection string, since time.Time) (is bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	err = db.QueryRow(ctx, d, []any{&is}, sqlReplaced.For(d), projection, since)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, fmt.Errorf("%w: %s", ErrNoProjection, projection)
	}
	return is, err
}

// SetSwaps says whether a shadow takes the place as soon as it has caught up.
func SetSwaps(ctx context.Context, d db.DB, name string, swaps bool) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	return db.Tx(ctx, d, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sqlSwapWanted.For(d), name, swaps)
		if err == nil && tag.RowsAffected() == 0 {
			err = fmt.Errorf("%w: %s", ErrNoShadow, name)
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, sqlTell.For(d), db.SchemaOf(d))
		return err
	})
}

// NoteTrouble notes what keeps a shadow from being made or from taking the place, nil if nothing does.
func NoteTrouble(ctx context.Context, d db.DB, name string, trouble error) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var why *string
	var refusal *Refusal
	refused := errors.As(trouble, &refusal)
	if trouble != nil {
		text := strings.ToValidUTF8(strings.ReplaceAll(trouble.Error(), "\x00", ""), "\ufffd")
		why = &text
	}
	return db.Exec(ctx, d, sqlFailed.For(d), name, why, refused)
}

// pause waits, or until ctx ends, whose cause it returns then.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
