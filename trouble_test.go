package rouse_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/report"
	"github.com/rouse-es/rouse/internal/testdb"
)

// troubles are what keeps a projection from getting on, as everybody can read it.
func (b *bundle) troubles(name string) []report.Trouble {
	b.t.Helper()
	r, err := report.Read(b.ctx, b.Pool)
	require.NoError(b.t, err)
	for _, p := range r.Projections {
		if p.Name == name {
			return p.Troubles
		}
	}
	return nil
}

// troubled waits until a projection says what keeps it from getting on, and returns it.
func (b *bundle) troubled(name, text string) (t report.Trouble) {
	b.t.Helper()
	testdb.Eventually(b.t, patience, name+" to say: "+text, func() (bool, error) {
		for _, t = range b.troubles(name) {
			if strings.Contains(t.Text, text) {
				return true, nil
			}
		}
		return false, nil
	})
	return t
}

// untroubled waits until a projection gets on.
func (b *bundle) untroubled(name string) {
	b.t.Helper()
	testdb.Eventually(b.t, patience, name+" to get on", func() (bool, error) { return len(b.troubles(name)) == 0, nil })
}

// What a worker retries, since when, and why, everybody can read; and no longer, once it gets on.
func TestWhatAProjectionRetriesCanBeRead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var broken atomic.Bool
	broken.Store(true)
	w := b.start(b.Pool, rouse.Config{OnFailure: rouse.Stop, Retry: soon, Projections: []rouse.Projection{projection{name: "p",
		hook: func(context.Context, pgx.Tx, eventstore.Event) error {
			if broken.Load() {
				return errBroken
			}
			return nil
		}}}}).WaitStarted()
	b.append("e")
	trouble := b.troubled("p", "broken")
	require.Equal(t, "retrying", trouble.State)
	require.Equal(t, w.Status().Label, trouble.Worker)
	broken.Store(false)
	require.NoError(t, w.Drain(b.ctx))
	b.untroubled("p")

	b.exec("alter table rouse_incarnation rename to elsewhere")
	b.append("e")
	b.troubled("p", "rouse_incarnation")
	b.exec("alter table elsewhere rename to rouse_incarnation")
	require.NoError(t, w.Drain(b.ctx))
	b.untroubled("p")
	require.NoError(t, w.Stop())
}
