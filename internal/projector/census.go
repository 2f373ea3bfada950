package projector

import (
	"context"
	"errors"
	"slices"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/apply"
	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/partition"
)

// askTimeout bounds one asking of a Census, of a few statements.
const askTimeout = 2 * statementTimeout

// Census asks the database what the projectors of a process need to know at the beginning of a session and about the sharing of
// partitions, once for all that ask at the same time. It writes nothing of one projection that could wait for another process
// and so hold up the others: claims, and everything that takes locks, are each projector's own.
type Census struct {
	pool   *db.Pool
	create int

	opened  *together[string, opening]
	stood   *together[string, partition.Standing]
	checked *together[claimed, bool]
	visible *together[int64, catchup.Mark]
	dead    *together[struct{}, int64]
}

// NewCensus returns a Census of the projections in pool, of which a new one has create partitions; 0: the default.
func NewCensus(pool *db.Pool, create int) *Census {
	c := &Census{pool: pool, create: create}
	c.opened = newTogether(askTimeout, c.open)
	c.stood = newTogether(askTimeout, c.look)
	c.checked = newTogether(askTimeout, c.check)
	c.visible = newTogether(askTimeout, c.lastVisible)
	c.dead = newTogether(askTimeout, c.deadRows)
	return c
}

// opening is what a session begins with.
type opening struct {
	log   catchup.Log
	token catchup.Token
	kept  partition.Kept
}

// open answers for projections.
func (c *Census) open(ctx context.Context, projections []string) ([]opening, error) {
	log, err := catchup.Open(ctx, c.pool)
	if err != nil {
		return nil, err
	}
	token, err := catchup.CurrentToken(ctx, c.pool)
	if err != nil {
		return nil, err
	}
	kept, err := find(ctx, c.pool, projections)
	if err != nil {
		return nil, err
	}
	answers := make([]opening, len(projections))
	for i := range projections {
		answers[i] = opening{log: log, token: token, kept: kept[i]}
	}
	return answers, nil
}

// look answers for projections. The Standing of one that does not exist has no partitions.
func (c *Census) look(ctx context.Context, projections []string) ([]partition.Standing, error) {
	standings, err := partition.LookAll(ctx, c.pool, projections)
	if err != nil {
		return nil, err
	}
	answers := make([]partition.Standing, len(projections))
	for i, projection := range projections {
		answers[i] = standings[projection]
	}
	return answers, nil
}

// claimed is what a session has claimed, and now goes on from.
type claimed struct {
	projection string
	log        catchup.Log
	token      catchup.Token
	marks      []catchup.Mark
	lowest     int64 // of the checkpoints
	highest    int64
}

// errApart means that what holds for all together does not hold for one, so each has to ask for itself.
var errApart = errors.New("rouse: what was asked for all has to be asked one by one")

// check compares the checkpoints of claims with the log, whose head it reads after all of them, and answers whether earlier
// owners have left events behind.
func (c *Census) check(ctx context.Context, claims []claimed) ([]bool, error) {
	all := claimed{log: claims[0].log, token: claims[0].token, lowest: claims[0].lowest}
	seen := map[catchup.Mark]bool{}
	projections := make([]string, len(claims))
	for i, one := range claims {
		if one.log != all.log || one.token != all.token {
			return nil, errApart
		}
		for _, mark := range one.marks {
			if !seen[mark] {
				seen[mark] = true
				all.marks = append(all.marks, mark)
			}
		}
		all.lowest, all.highest = min(all.lowest, one.lowest), max(all.highest, one.highest)
		projections[i] = one.projection
	}
	if err := c.compare(ctx, all); err != nil {
		if len(claims) > 1 && ofLog(err) {
			err = errApart
		}
		return nil, err
	}
	left, err := apply.Left(ctx, c.pool, projections)
	if err != nil {
		return nil, err
	}
	answers := make([]bool, len(claims))
	for i, projection := range projections {
		answers[i] = slices.Contains(left, projection)
	}
	return answers, nil
}

// ofLog reports whether err says something about the log, and not about the way to it.
func ofLog(err error) bool {
	for _, class := range []error{catchup.ErrLogReplaced, catchup.ErrLogBehind, catchup.ErrArchived, catchup.ErrIncarnation, catchup.ErrChanged} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

// compare compares the checkpoints of a claim with the log, whose head it reads after the claim. That of a batch says nothing:
// the end of the log is read for all projections of the process, and no further while they are busy.
func (c *Census) compare(ctx context.Context, one claimed) error {
	if err := catchup.CheckMarks(ctx, c.pool, one.token, one.marks); err != nil {
		return err
	}
	if err := catchup.CheckFloor(ctx, c.pool, one.log, one.token, one.highest); err != nil {
		return err
	}
	return catchup.CheckWhole(ctx, c.pool, one.lowest)
}

// sound returns an error for a claim whose checkpoints do not belong to the log, and whether earlier owners have left events behind.
func (c *Census) sound(ctx context.Context, one claimed) (left bool, err error) {
	left, err = c.checked.answer(ctx, one)
	if errors.Is(err, errApart) {
		return true, c.compare(ctx, one)
	}
	return left, err
}

// lastVisible answers which is the last visible event up to positions, of which most are the same. A position behind which the server has to
// look far may take longer than there is time, so the others do not wait for its sake.
func (c *Census) lastVisible(ctx context.Context, positions []int64) ([]catchup.Mark, error) {
	known := map[int64]catchup.Mark{}
	answers := make([]catchup.Mark, len(positions))
	for i, position := range positions {
		mark, is := known[position]
		if !is {
			var err error
			mark, err = catchup.LastVisible(ctx, c.pool, position)
			switch {
			case err != nil && slices.ContainsFunc(positions, func(other int64) bool { return other != position }):
				return nil, errApart
			case err != nil:
				return nil, err
			}
			known[position] = mark
		}
		answers[i] = mark
	}
	return answers, nil
}

// lastUpTo returns the last visible event up to a position.
func (c *Census) lastUpTo(ctx context.Context, position int64) (catchup.Mark, error) {
	mark, err := c.visible.answer(ctx, position)
	if errors.Is(err, errApart) {
		return catchup.LastVisible(ctx, c.pool, position)
	}
	return mark, err
}

// deadRows answers how many dead rows of checkpoints there are, the same to all.
func (c *Census) deadRows(ctx context.Context, all []struct{}) ([]int64, error) {
	var rows int64
	if err := db.QueryRow(ctx, c.pool, []any{&rows}, sqlDead.For(c.pool), c.pool.Schema); err != nil {
		return nil, err
	}
	answers := make([]int64, len(all))
	for i := range answers {
		answers[i] = rows
	}
	return answers, nil
}
