package reliability_test

import (
	"context"
	"fmt"
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

	// Parked are events that are still set aside.
	Parked int64
	// Innocent are events of aggregates without a bad event that waited for people when there was peace.
	Innocent int64
	// EffectsOutOfOrder were done for the first time after that of a later event of their aggregate.
	EffectsOutOfOrder int64
	// Unexplained are repeated effects that nothing had happened to. Only evidence with disturbances can have any.
	Unexplained int64
	// OldestRepeat is how long before a disturbance the oldest of the other repeated effects was done; 0: none was done
	// before it.
	OldestRepeat time.Duration
}

// sound tells whether nothing is wrong.
func (v verdict) sound() bool {
	v.Acknowledged, v.Open, v.OpenThere, v.Repeated, v.OldestRepeat = 0, 0, 0, 0, 0
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
	effects     map[eventstore.ID][]doing

	note         func(format string, args ...any) // is told of each handling that is wrong; nil: nobody
	disturbances []disturbance                    // nil: nobody has written them down
	parked       int64
	innocent     int64
}

// say tells note.
func (e evidence) say(format string, args ...any) {
	if e.note != nil {
		e.note(format, args...)
	}
}

// passed is the checkpoint of the partition that a slot is in.
func (e evidence) passed(slot int16) int64 { return e.checkpoints[int(slot)%len(e.checkpoints)] }

// history is what became of one aggregate.
type history struct {
	positions []int64 // of its versions, from 1
	slot      int16
	handled   []int64 // how often each version was
	latest    int64   // version
}

// judge compares.
func judge(e evidence) verdict {
	v := verdict{Miscounted: e.miscounted, Acknowledged: e.record.events, Parked: e.parked, Innocent: e.innocent}
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
			e.say("handled again: version %d of %s at %d", did.version, did.aggregate, did.position)
		} else if did.version < h.latest {
			v.OutOfOrder++
			e.say("handled after version %d: version %d of %s at %d", h.latest, did.version, did.aggregate, did.position)
		}
		h.latest = max(h.latest, did.version)
	}
	for aggregate, h := range histories {
		for i, times := range h.handled {
			switch {
			case times > 0:
				continue
			case h.positions[i] <= e.passed(h.slot):
				v.Lost++
			default:
				v.Stuck++
			}
			e.say("not handled: version %d of %s at %d", i+1, aggregate, h.positions[i])
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
			done := doneOf(e.effects, aggregate, version)
			if len(done) == 0 {
				v.EffectsLost++
				e.say("no effect: version %d of %s at %d", version, aggregate, h.positions[version-1])
				continue
			}
			explained++
			v.Repeated += int64(len(done) - 1)
			if e.disturbances != nil {
				v.judgeRepeats(e, done)
			}
		}
		v.judgeOrder(e, aggregate, int64(len(h.positions)))
	}
	v.EffectsPhantom = int64(len(e.effects) - explained)
}

// noteFew logs the first few of what it is told.
func (a *arena) noteFew(few int) func(format string, args ...any) {
	return func(format string, args ...any) {
		if few--; few >= 0 {
			a.t.Logf(format, args...)
		}
	}
}

// collect gathers the evidence. Nobody writes any more.
func (a *arena) collect(ctx context.Context) (evidence, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	e := evidence{note: a.noteFew(10), record: a.record, checkpoints: map[int]int64{}, effects: map[eventstore.ID][]doing{}}
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
	if err := a.db.pool.QueryRow(ctx, statement("parked")).Scan(&e.parked); err != nil {
		return e, err
	}
	if a.hostile != nil {
		e.innocent = int64(len(a.innocent))
		if e.disturbances, err = a.disturbancesOfAll(); err != nil {
			return e, err
		}
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
