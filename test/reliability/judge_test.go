package reliability_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
)

// verdict is what the judge finds. Everything but Acknowledged, Open, OpenThere and Repeated must be 0.
type verdict struct {
	// Acknowledged are the events whose commit was acknowledged, by the record of the appenders; Open are those whose commit
	// was not answered, and OpenThere those of these that are in the log.
	Acknowledged, Open, OpenThere int64

	// Missing were acknowledged and are not in the log.
	Missing int64
	// Strange are in the log and were not appended, or not as they are there, or twice, or only a part of an append.
	Strange int64
	// Lost are in the log and were not handled, and the checkpoint has passed them.
	Lost int64
	// Stuck are in the log and were not handled in time.
	Stuck int64
	// Doubled were handled more often than once: all times but the first.
	Doubled int64
	// OutOfOrder were handled after a later event of their aggregate.
	OutOfOrder int64
	// Phantom were handled and are not in the log.
	Phantom int64
	// Beyond are checkpoints that stand above the last event.
	Beyond int64
	// Miscounted are aggregates whose total is not what was handled.
	Miscounted int64

	// EffectsLost are events in the log without their effect, EffectsPhantom effects without an event. Repeated are effects
	// that were done again, which they may be.
	EffectsLost, EffectsPhantom, Repeated int64
}

// sound tells whether nothing is wrong.
func (v verdict) sound() bool {
	v.Acknowledged, v.Open, v.OpenThere, v.Repeated = 0, 0, 0, 0
	return v == verdict{}
}

// logged is an event in the log.
type logged struct {
	aggregate string
	version   int64
	position  int64
	id        eventstore.ID
	slot      int16
}

// handling is an event that was handled.
type handling struct {
	aggregate         string
	version, position int64
}

// evidence is all that the judge looks at.
type evidence struct {
	record      *record
	log         []logged   // in its order
	handled     []handling // in the order in which it was
	checkpoints map[int]int64
	miscounted  int64
	effects     map[eventstore.ID]int64 // how often they were done
}

// history is what became of one aggregate.
type history struct {
	positions []int64 // of its versions, from 1
	slot      int16
	handled   []int64 // how often each version was
	latest    int64   // version
}

// judge compares.
func judge(e evidence) verdict {
	v := verdict{Miscounted: e.miscounted, Acknowledged: e.record.events}
	histories := map[string]*history{}
	var head int64
	for _, ev := range e.log {
		h := histories[ev.aggregate]
		if h == nil {
			h = &history{slot: ev.slot}
			histories[ev.aggregate] = h
		}
		if ev.version != int64(len(h.positions))+1 || ev.id != idOf(ev.aggregate, ev.version) || ev.position <= head {
			v.Strange++
			continue
		}
		head = ev.position
		h.positions, h.handled = append(h.positions, ev.position), append(h.handled, 0)
	}
	for _, position := range e.checkpoints {
		if position > head {
			v.Beyond++
		}
	}
	v.judgeLog(e.record, histories)
	v.judgeHandled(e, histories)
	v.judgeEffects(e, histories)
	return v
}

// judgeLog compares the record with the log.
func (v *verdict) judgeLog(r *record, histories map[string]*history) {
	for aggregate, acked := range r.acked {
		if histories[aggregate] == nil {
			histories[aggregate] = &history{}
		}
		v.Missing += max(acked-int64(len(histories[aggregate].positions)), 0)
	}
	for aggregate, last := range r.open {
		v.Open += last - r.acked[aggregate]
	}
	for aggregate, h := range histories {
		there, acked, last := int64(len(h.positions)), r.acked[aggregate], r.open[aggregate]
		switch {
		case there <= acked:
		case there == last: // an append that was never answered
			v.OpenThere += there - acked
		default:
			v.Strange += there - acked
		}
	}
}

// judgeHandled compares the log with what was handled.
func (v *verdict) judgeHandled(e evidence, histories map[string]*history) {
	for _, did := range e.handled {
		h := histories[did.aggregate]
		if h == nil || did.version < 1 || did.version > int64(len(h.positions)) || h.positions[did.version-1] != did.position {
			v.Phantom++
			continue
		}
		if h.handled[did.version-1]++; h.handled[did.version-1] > 1 {
			v.Doubled++
		} else if did.version < h.latest {
			v.OutOfOrder++
		}
		h.latest = max(h.latest, did.version)
	}
	for _, h := range histories {
		for i, times := range h.handled {
			switch {
			case times > 0:
			case h.positions[i] <= e.checkpoints[int(h.slot)%partitions]:
				v.Lost++
			default:
				v.Stuck++
			}
		}
	}
}

// judgeEffects compares the log with what was done outside.
func (v *verdict) judgeEffects(e evidence, histories map[string]*history) {
	var explained int
	for aggregate, h := range histories {
		for version := int64(1); version <= int64(len(h.positions)); version++ {
			if typeOf(version) != billed {
				continue
			}
			times := e.effects[idOf(aggregate, version)]
			if times == 0 {
				v.EffectsLost++
				continue
			}
			explained++
			v.Repeated += times - 1
		}
	}
	v.EffectsPhantom = int64(len(e.effects) - explained)
}

// collect gathers the evidence. Nobody writes any more.
func (a *arena) collect(ctx context.Context) (evidence, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	e := evidence{record: a.record, checkpoints: map[int]int64{}, effects: map[eventstore.ID]int64{}}
	err := forEach(ctx, a.db, "log", nil, func(rows pgx.Rows) error {
		var ev logged
		err := rows.Scan(&ev.aggregate, &ev.version, &ev.position, &ev.id, &ev.slot)
		e.log = append(e.log, ev)
		return err
	})
	if err != nil {
		return e, err
	}
	err = forEach(ctx, a.db, "handled", nil, func(rows pgx.Rows) error {
		var did handling
		err := rows.Scan(&did.aggregate, &did.version, &did.position)
		e.handled = append(e.handled, did)
		return err
	})
	if err != nil {
		return e, err
	}
	err = forEach(ctx, a.db, "standing", []any{projectionName}, func(rows pgx.Rows) error {
		var p int
		var position int64
		var owner string
		err := rows.Scan(&p, &position, &owner)
		e.checkpoints[p] = position
		return err
	})
	if err != nil {
		return e, err
	}
	if err := a.db.pool.QueryRow(ctx, statement("miscounted")).Scan(&e.miscounted); err != nil {
		return e, err
	}
	return e, readEffects(a.seats[0].folder, e.effects)
}

func forEach(ctx context.Context, db *database, name string, args []any, row func(rows pgx.Rows) error) error {
	rows, err := db.pool.Query(ctx, statement(name), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return rows.Err()
}

// readEffects counts what the workers have written down. A kill may have cut the last id off, and then it was not done.
func readEffects(folder string, effects map[eventstore.ID]int64) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, file := range entries {
		data, err := os.ReadFile(filepath.Join(folder, file.Name()))
		if err != nil {
			return err
		}
		for ; len(data) >= len(eventstore.ID{}); data = data[len(eventstore.ID{}):] {
			effects[eventstore.ID(data)]++
		}
	}
	return nil
}
