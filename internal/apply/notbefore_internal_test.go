package apply

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
)

// A handler's NotBefore is stronger than all that is with it but Unavailable; what a worker's own statement says is not the handler's.
func TestWhatIsWantedLaterIsNobodysFault(t *testing.T) {
	t.Parallel()
	broken, later := errors.New("broken"), NotBefore(time.Now().Add(time.Hour))
	for name, c := range map[string]struct {
		err error
		of  blame
	}{
		"alone":                      {told{later}, ofTime},
		"not judged":                 {later, ofTime},
		"wrapped":                    {told{fmt.Errorf("invoice 7: %w", later)}, ofTime},
		"beside another error":       {told{errors.Join(broken, later)}, ofTime},
		"permanent":                  {told{Permanent(later)}, ofTime},
		"beside a permanent one":     {told{errors.Join(Permanent(broken), later)}, ofTime},
		"with a pause":               {told{RetryAfter(later, time.Minute)}, ofTime},
		"of an event of a batch":     {told{Deferring(later, &eventstore.Event{})}, ofTime},
		"behind a conflict":          {Deferring(conflict{errors.Join(errInTheWay, later)}, &eventstore.Event{}), ofTime},
		"unavailable":                {told{Unavailable(later)}, ofService},
		"beside an unavailable one":  {told{errors.Join(later, Unavailable(broken))}, ofService},
		"unavailable, of a batch":    {told{Deferring(Unavailable(later), &eventstore.Event{})}, ofService},
		"in a statement of a worker": {outage{later}, ofWorker},
		"only in words":              {told{errors.New(later.Error())}, ofEvent},
		"as a panic":                 {told{safely(func() error { panic(later) })}, ofEvent},
	} {
		require.Equal(t, c.of, blameOf(c.err), name)
	}
	require.NoError(t, Deferring(nil, &eventstore.Event{}))
	require.Equal(t, broken, Deferring(broken, &eventstore.Event{}))
}

// A batch in which an event is wanted later has not failed, so those behind it are as large as they would have been.
func TestPace_WhatIsWantedLaterMakesNoBatchSmaller(t *testing.T) {
	t.Parallel()
	handler := Handler{BatchTime: time.Second}
	c := committer{run: runner{handler: handler}, pace: NewPace(handler, 100, 10_000)}
	events := make([]eventstore.Event, 100)
	c.keepPace(batch{events: events, began: time.Now()}, nil)
	grown := c.pace.next()
	require.Greater(t, grown, 100)
	c.keepPace(batch{events: events, began: time.Now()}, told{Deferring(NotBefore(time.Now()), &events[1])})
	require.Equal(t, grown, c.pace.next())
	c.keepPace(batch{events: events, began: time.Now()}, told{errors.New("broken")})
	require.Equal(t, 100, c.pace.next())
}
