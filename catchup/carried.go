package catchup

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/migrations"
)

// keyEvery is how often the key of the pushes is read at most, so that forged ones cost no more than that.
const keyEvery = time.Second

// sealer has the key under which pushes carry events. The zero value is ready, and knows none.
type sealer struct {
	key   pushKey
	asked time.Time // when the key was last asked for
	said  bool      // the log has the message that it may not be read
	log   zerolog.Logger
}

// Carried is a read that needs no statement: it hands out the events that pushes have carried. Those that the cursor has passed are left
// out; if the others follow it without a hole, the cursor moves over them. Otherwise nothing changes and ok is false: only a read can
// tell what there is. It says nothing of the head, so Head is where the batch ends.
//
// What a glance shows is shown here too. A notification is delivered once its transaction is committed and visible, so there is an event
// at each position. What the append has sealed is the token of the incarnation that it was made in and the file of the sequence that
// its position came from, which must be the reader's. Whoever has no right to append does not know the key, so what is sealed was
// appended; and what was sent before is sent again in vain, because the cursor has passed it.
func (r *Reader) Carried(ctx context.Context, payloads []string) (b Batch, ok bool) {
	var events []eventstore.Event
	for _, payload := range payloads {
		found, err := r.open(ctx, payload)
		if err != nil {
			return Batch{}, false
		}
		events = append(events, found...)
	}
	to := r.after
	events = slices.DeleteFunc(events, func(ev eventstore.Event) bool { return ev.GlobalPosition <= to })
	slices.SortStableFunc(events, func(a, b eventstore.Event) int { return int(a.GlobalPosition - b.GlobalPosition) })
	for i := range events {
		if events[i].GlobalPosition != to+1 {
			return Batch{}, false
		}
		to++
	}
	b = Batch{From: r.after, To: to, Head: to, Settled: to, Holders: -1, More: true, Glanced: true, Push: r.push}
	b.Events = r.mine(events)
	r.after = to
	return b, true
}

// open returns the events of a push, or an error if it has none that this reader may believe in.
func (r *Reader) open(ctx context.Context, payload string) ([]eventstore.Event, error) {
	place := r.place()
	events, err := r.seal.key.open(place, payload)
	if errors.Is(err, errSeal) && time.Since(r.seal.asked) >= keyEvery { // the owner may have made another key
		r.askKey(ctx)
		events, err = r.seal.key.open(place, payload)
	}
	return events, err
}

// place is what a push has to be sealed with besides its events.
func (r *Reader) place() pushPlace {
	return pushPlace{string(r.token), r.log.Database, r.log.Events, r.log.Filenode}
}

// askKey reads the key. Where that fails, there is none, and the events are read as if the push carried nothing.
func (r *Reader) askKey(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	r.seal.asked, r.seal.key = time.Now(), pushKey{}
	var inner, outer []byte
	err := db.QueryRow(ctx, r.pool, []any{&inner, &outer}, sqlPushKey.In(r.log.Schema))
	switch {
	case err == nil:
		r.seal.key = pushKey{inner, outer}
	case migrations.Lacking(err) && !r.seal.said:
		r.seal.said = true
		r.seal.log.Warn().Err(err).Msg("pushes carry events, and this role may not read the key that they are sealed with: the events are read" +
			" (run as the owner of the schema: grant select on rouse_push_key to this role)")
	case !errors.Is(err, pgx.ErrNoRows) && ctx.Err() == nil:
		r.seal.log.Debug().Err(err).Msg("cannot read the key of the pushes")
	}
}

// A log that moves faster than countAbove may have appends that queue, which a push does not tell. So a glance counts them as often
// as in a torrent.
const countAbove = 20 // events/s

// payloads returns what the wakes since the last call have carried, and whether that is all that they were for. It is called before each
// read: one that begins later has all that they tell of.
func (l *loop) payloads() (payloads []string, all bool) {
	if l.wake == nil {
		return nil, false
	}
	return l.wake.Carried()
}

// take hands out what wakes have carried. The loop sleeps behind it as behind a glance, and need not know the head for that. When it last
// slept, a wake was to come for every event above the cursor that is or will be visible: it had read everything up to the head at which
// the listener armed, and the append of every later position finds S held. The wakes that have come since are those of payloads, whose
// events are all at or below the cursor now, so again a wake is to come for all that is above it.
func (l *loop) take(ctx context.Context, payloads []string) (b Batch, ok bool) {
	now := time.Now()
	fast := now.Sub(l.carried) < time.Second/countAbove
	if since := now.Sub(l.counted); fast && (since >= countEvery && len(payloads) == 0 || since >= 2*countEvery) {
		return b, false // the glance behind the last batch
	}
	if b, ok = l.reader.Carried(ctx, payloads); !ok {
		return b, false
	}
	if b.To == b.From { // an earlier call or read had it
		b.More = false
		return b, true
	}
	l.carried = now
	l.calm = b.Push && now.Sub(l.looked) < fullLookEvery
	b.More = !l.calm || fast && now.Sub(l.counted) >= countEvery
	l.owes = l.owes || l.calm
	if l.calm {
		l.source.observe(b, true)
	}
	return b, true
}
