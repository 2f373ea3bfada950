package projector

import (
	"context"
	"errors"
	"fmt"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/partition"
)

// Ensure creates those of projectors' projections that do not exist, each where it says that it begins, and reads the numbers of
// partitions of all. It is the only place where a worker creates one: what goes away later, or was retired, is not made anew.
func (c *Census) Ensure(ctx context.Context, log catchup.Log, projectors []*Projector) error {
	names := make([]string, len(projectors))
	for i, p := range projectors {
		names[i] = p.cfg.Name
	}
	var found map[string]partition.Kept
	for {
		var err error
		if found, err = partition.Find(ctx, c.pool, names); err != nil {
			return err
		}
		missing, err := c.missing(ctx, log, projectors, found)
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			break
		}
		if err := c.createEach(ctx, missing, projectors); err != nil {
			return err
		}
	}
	for _, p := range projectors {
		if kept := found[p.cfg.Name]; kept.Exists {
			if err := p.settle(ctx, kept.Partitions); err != nil && !errors.Is(err, partition.ErrGone) {
				return err
			}
		}
	}
	return nil
}

// createEach creates missing. Of one behind whose beginning the log is not whole it is noted; the others do not wait for it.
func (c *Census) createEach(ctx context.Context, missing []partition.New, projectors []*Projector) error {
	err := partition.Create(ctx, c.pool, missing)
	switch {
	case errors.Is(err, partition.ErrGone):
		return nil // somebody has retired one of them meanwhile, and the others are still to be created
	case !errors.Is(err, db.ErrArchived):
		return err
	case len(missing) == 1:
		for _, p := range projectors {
			if p.cfg.Name == missing[0].Name {
				p.refused = err
			}
		}
		return nil
	}
	for i := range missing {
		if err := c.createEach(ctx, missing[i:i+1], projectors); err != nil {
			return err
		}
	}
	return nil
}

// missing returns the projections that are to be created.
func (c *Census) missing(ctx context.Context, log catchup.Log, projectors []*Projector, found map[string]partition.Kept) (missing []partition.New, err error) {
	var origins map[catchup.Start]catchup.Origin
	for _, p := range projectors {
		if kept := found[p.cfg.Name]; kept.Exists || !kept.Retired.IsZero() || p.refused != nil {
			continue
		}
		if p.cfg.Unsaid != nil && p.cfg.Start == "" {
			any, err := catchup.Any(ctx, c.pool)
			switch {
			case err != nil:
				return nil, err
			case any:
				return nil, p.cfg.Unsaid
			}
		}
		origin, known := origins[p.cfg.Start]
		if !known {
			if origin, err = p.cfg.Start.Find(ctx, c.pool, log); err != nil {
				return nil, fmt.Errorf("rouse: begin projection %s: %w", p.cfg.Name, err)
			}
			if origins == nil {
				origins = map[catchup.Start]catchup.Origin{}
			}
			origins[p.cfg.Start] = origin
		}
		if p.cfg.Start != "" {
			p.log.Info().Str("from", string(p.cfg.Start)).Int64(keyPosition, origin.Position).Msg("the projection begins")
		}
		missing = append(missing, partition.New{Name: p.cfg.Name, Partitions: c.create, Behind: origin.Position, Unseen: origin.Visible})
	}
	return missing, nil
}

// settle notes that the projection has a number of partitions. 0 means that somebody is changing it, for which it waits.
func (p *Projector) settle(ctx context.Context, partitions int) error {
	if want := p.cfg.Partitions; partitions == 0 || want != 0 && want != partitions {
		var err error
		if partitions, err = partition.Complete(ctx, p.cfg.Process.Pool, p.cfg.Name, want); err != nil {
			return err
		}
	}
	p.partitions.Store(int64(partitions))
	return nil
}

// find answers what there is of projections.
func find(ctx context.Context, pool *db.Pool, projections []string) ([]partition.Kept, error) {
	found, err := partition.Find(ctx, pool, projections)
	if err != nil {
		return nil, err
	}
	answers := make([]partition.Kept, len(projections))
	for i, projection := range projections {
		answers[i] = found[projection]
	}
	return answers, nil
}
