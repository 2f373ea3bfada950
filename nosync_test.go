package rouse_test

import (
	"context"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/testdb"
)

// A start while the synchronous standby is away says what it waits for, and goes on when that is back or is not waited for any more.
func TestStartWithoutTheSynchronousStandbySaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	b := &bundle{DB: testdb.On(t, testdb.Server(t, nil)), ctx: ctx, t: t}
	b.exec("create table done (n bigint generated always as identity, projection text not null, position bigint not null)")
	b.append("e")
	require.NoError(t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "known"}}}))
	b.exec("alter system set synchronous_standby_names = 'gone'")
	b.exec("select pg_reload_conf()")
	testdb.Eventually(t, patience, "the server to know", func() (bool, error) {
		return b.int("select count(*) from pg_settings where name = 'synchronous_standby_names' and setting = 'gone'") == 1, nil
	})
	created := make(chan error, 1)
	go func() {
		w, err := rouse.New(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "new"}}})
		if err == nil {
			err = w.Run(ctx)
		}
		created <- err
	}()
	var log logged
	w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "known"}}, Log: zerolog.New(&log)})
	log.says(t, "a commit waits for a synchronous standby that is not there", "take it out of synchronous_standby_names")
	require.ErrorIs(t, <-created, db.ErrNoSync)
	b.exec("alter system reset synchronous_standby_names")
	b.exec("select pg_reload_conf()")
	b.append("e")
	b.waitDone("known", 2)
	w.MustStop()
}
