package partition

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// look is what a Control sees of the other members in one statement.
type look struct {
	members  int
	text     string   // what this member plans by
	working  bool     // another member has work in hand
	presence []string // the locks of the others, as KEY/PID/PID..
	changes  *float64 // in how many seconds text will differ by itself; nil: it will not
	head     *int64   // the highest position at which there is an event; nil: not asked for
}

// scan reads a row of watch.sql, or of heartbeat.sql, which has the head beside it.
func (l *look) scan(row pgx.Row, more ...any) error {
	return row.Scan(append([]any{&l.members, &l.text, &l.working, &l.presence, &l.changes}, more...)...)
}

// watch reads the membership.
func (c *Control) watch(ctx context.Context, l *line) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), controlTimeout) // as in beat
	defer cancel()
	var found look
	if err := found.scan(l.conn.QueryRow(ctx, sqlWatch.In(c.cfg.Schema), c.instance)); err != nil {
		return fmt.Errorf("partition: watch the members: %w", err)
	}
	c.saw(found, c.planned)
	return nil
}

// saw takes in a look, and the row of this member as the others see it by now. It wakes the waiting goroutines if either has
// changed, or if the look was asked for.
func (c *Control) saw(found look, planned string) {
	c.looked, c.due = time.Now(), false
	c.othersWork = found.working
	c.presence = c.presence[:0]
	for _, p := range found.presence {
		key, pids, _ := strings.Cut(p, "/")
		c.presence = append(c.presence, presence{key: key, pids: strings.FieldsFunc(pids, func(r rune) bool { return r == '/' })})
	}
	c.changes = time.Time{}
	if found.changes != nil {
		// A moment later, so that it has changed by then.
		c.changes = c.looked.Add(time.Duration(*found.changes*float64(time.Second)) + 10*time.Millisecond)
	}
	asked := c.asked.Swap(false)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members = found.members
	if found.text != c.seen || planned != c.planned || asked {
		c.seen, c.planned = found.text, planned
		c.broadcast()
	}
}

// presence is the lock of another member, and the server's processes that may hold it; none: any.
type presence struct {
	key  string
	pids []string
}

// holders are the presence locks that are held in a database, as KEY/PID, and as KEY alone.
type holders map[string]struct{}

// callRoll looks which presence locks are held.
func (l *line) callRoll(ctx context.Context) (holders, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), controlTimeout)
	defer cancel()
	var held []string
	if err := l.conn.QueryRow(ctx, sqlRollCall.In("")).Scan(&held); err != nil {
		return nil, fmt.Errorf("partition: call the roll of the presence locks: %w", err)
	}
	found := holders{}
	for _, h := range held {
		key, _, _ := strings.Cut(h, "/")
		found[h], found[key] = struct{}{}, struct{}{}
	}
	return found, nil
}

// has reports whether one of those who may hold p does.
func (h holders) has(p presence) bool {
	if len(p.pids) == 0 {
		_, has := h[p.key]
		return has
	}
	for _, pid := range p.pids {
		if _, has := h[p.key+"/"+pid]; has {
			return true
		}
	}
	return false
}

// compare makes a look due if a member that the last look knew has lost its presence.
func (c *Control) compare(h holders) {
	for _, p := range c.presence {
		if !h.has(p) {
			c.due = true
			return
		}
	}
}
