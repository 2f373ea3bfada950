package catchup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// ErrSlow means that a read did not end in its time. The next one asks for less, and has longer.
var ErrSlow = errors.New("catchup: the events asked for did not come")

const (
	// mostMissed is how often in a row reads get smaller and have longer, down to a thousandth and up to eight times
	// ReadTimeout. One event of 60 MB has come by then on a line of 250 kB/s.
	mostMissed = 3

	// goodReads is after how many reads in time that count they get larger again, by one step.
	goodReads = 4
)

// patience makes reads smaller, and gives them longer, once one has run out of time: the same read would run out of
// time again. It outlives the readers of one session, which such an error ends. The zero value is ready, and its methods
// may be called by many goroutines.
//
// Those that read alone share one, and the loop has another: what the end of the log brings is mostly small, and says nothing of
// how long a read far behind will take.
type patience struct {
	first time.Duration // how long a read may take at first; 0: ReadTimeout
	few   bool          // a read in time counts even if it found less than it asked for, as most do at the end of the log

	mu     sync.Mutex // protects the fields below
	missed int        // steps that reads are smaller by
	good   int        // reads in time since the last step
}

// steps returns by how many steps reads are smaller.
func (p *patience) steps() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.missed
}

// timeout returns how long one read may take.
func (p *patience) timeout() time.Duration {
	first := p.first
	if first == 0 {
		first = ReadTimeout
	}
	return first << p.steps()
}

// limit returns how many rows one read may ask for, of n, at least one.
func (p *patience) limit(n int) int {
	for range p.steps() {
		n /= 10
	}
	return max(n, 1)
}

// window returns how many positions one read may look through, of n.
func (p *patience) window(n int64) int64 { return max(n>>(4*p.steps()), min(n, 1<<8)) }

// note notes how a read has ended whose caller's context is ctx, and returns err with its meaning. full reports that it had as much to
// do as it asked for: one that found less has not shown that a larger one would come in time.
func (p *patience) note(ctx context.Context, err error, full bool) error {
	had := p.timeout()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err != nil && ctx.Err() == nil && tookTooLong(err):
		err = fmt.Errorf("%w within %s: %w", ErrSlow, had, err)
		p.missed, p.good = min(p.missed+1, mostMissed), 0
	case err == nil && p.missed > 0 && (full || p.few):
		if p.good++; p.good == goodReads {
			p.missed, p.good = p.missed-1, 0
		}
	}
	return err
}

// tookTooLong reports whether a statement was cut off at its time limit, by pgx or by the server. A wait for a connection
// is none.
func tookTooLong(err error) bool {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Code == "57014" // query_canceled
	}
	return pgconn.Timeout(err)
}
