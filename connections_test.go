package rouse_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/listener"
	"github.com/rouse-es/rouse/partition"
)

// These tests are of how the listening and the control connection are made.

// poolWith opens another pool, whose configuration is changed.
func (b *bundle) poolWith(change func(cfg *pgxpool.Config)) *pgxpool.Pool {
	b.t.Helper()
	cfg, err := pgxpool.ParseConfig(b.URL)
	require.NoError(b.t, err)
	cfg.MaxConns = 6
	change(cfg)
	pool, err := pgxpool.NewWithConfig(b.ctx, cfg)
	require.NoError(b.t, err)
	b.t.Cleanup(pool.Close)
	return pool
}

// works waits until a worker is pushed, and sees it handle an event.
func (b *bundle) works(w *running) {
	b.t.Helper()
	testdb.Eventually(b.t, patience, "the worker to be armed", func() (bool, error) {
		return w.Status().Mode == string(listener.Quiet), nil
	})
	var position int64
	testdb.Eventually(b.t, patience, "an append", func() (bool, error) { // connections of the test's pool may have been ended, too
		err := b.Pool.QueryRow(b.ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
			values ('thing', gen_random_uuid(), 1, 'e', '{}') returning global_position`).Scan(&position)
		return err == nil, err
	})
	testdb.Eventually(b.t, patience, "the event to be handled", func() (bool, error) {
		var n int64
		err := b.Pool.QueryRow(b.ctx, "select count(*) from done where position = $1", position).Scan(&n)
		return n == 1, err
	})
}

// The hooks of the pool make every connection what it has to be: they know the password, the role and the search_path.
func TestEveryConnectionHasTheHooksOfThePool(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(b *bundle, cfg *pgxpool.Config){
		"a password that changes": func(b *bundle, cfg *pgxpool.Config) {
			role := b.Name + "_rotated"
			b.exec("create role " + role + " superuser login password 'right'")
			b.t.Cleanup(func() { b.exec("drop owned by " + role); b.exec("drop role " + role) })
			cfg.ConnConfig.User, cfg.ConnConfig.Password = role, "wrong"
			cfg.BeforeConnect = func(_ context.Context, conn *pgx.ConnConfig) error { conn.Password = "right"; return nil }
		},
		"a role": func(b *bundle, cfg *pgxpool.Config) {
			role := b.Name + "_login"
			b.exec("create role " + role + " noinherit login password '" + testdb.Password + "'")
			b.exec("grant postgres to " + role)
			b.t.Cleanup(func() { b.exec("drop owned by " + role); b.exec("drop role " + role) })
			cfg.ConnConfig.User, cfg.ConnConfig.Password = role, testdb.Password
			cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
				_, err := conn.Exec(ctx, "set role postgres")
				return err
			}
		},
		"a search_path": func(b *bundle, cfg *pgxpool.Config) {
			for _, table := range []string{"projection_workers", "rouse_incarnation"} {
				b.exec("create schema if not exists decoy")
				b.exec("create table decoy." + table + " (like public." + table + ")")
			}
			cfg.ConnConfig.RuntimeParams["search_path"] = "decoy"
			cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
				_, err := conn.Exec(ctx, "set search_path = public, decoy")
				return err
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			pool := b.poolWith(func(cfg *pgxpool.Config) { change(b, cfg) })
			b.works(b.start(pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}}).WaitStarted())
		})
	}
}

// slowly is a line on which each round trip takes 400 ms.
type slowly struct {
	net.Conn
	asked atomic.Bool
}

const roundTrip = 400 * time.Millisecond

func (s *slowly) Write(p []byte) (int, error) {
	s.asked.Store(true)
	return s.Conn.Write(p)
}

func (s *slowly) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if s.asked.Swap(false) {
		<-time.After(roundTrip)
	}
	return n, err
}

// What psql can reach, a worker can: a login of many slow round trips, and an address whose first host is without power.
func TestWorkerConnectsInTheTimeOfItsAddress(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t *testing.T, conn *pgx.ConnConfig){
		"a slow line": func(_ *testing.T, conn *pgx.ConnConfig) {
			conn.ConnectTimeout = 5 * time.Second
			dial := conn.DialFunc
			conn.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
				<-time.After(4 * roundTrip) // of TCP and TLS
				c, err := dial(ctx, network, address)
				return &slowly{Conn: c}, err
			}
		},
		"a silent host": func(t *testing.T, conn *pgx.ConnConfig) {
			l, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts
			require.NoError(t, err)
			t.Cleanup(func() { _ = l.Close() })
			conn.ConnectTimeout = 3 * time.Second
			conn.Fallbacks = append([]*pgconn.FallbackConfig{{Host: conn.Host, Port: conn.Port, TLSConfig: conn.TLSConfig}}, conn.Fallbacks...)
			conn.Host, conn.Port = "127.0.0.1", uint16(l.Addr().(*net.TCPAddr).Port)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			conn, err := pgx.ParseConfig(b.URL)
			require.NoError(t, err)
			change(t, conn)
			w := b.start(b.Pool, rouse.Config{
				Projections: []rouse.Projection{projection{name: "p"}},
				ListenConn:  func(context.Context) (*pgx.ConnConfig, error) { return conn, nil },
			}).WaitStarted()
			b.works(w)
			require.Empty(t, w.Health(b.ctx).Faults)
		})
	}
}

// What only a person can mend ends the start, instead of a worker that waits for ever.
func TestStartThatOnlyAPersonCanMendEndsWithTheReason(t *testing.T) {
	t.Parallel()
	b := setup(t)
	role := b.Name + "_listens"
	b.exec("create role " + role + " login password 'right'")
	t.Cleanup(func() { b.exec("drop owned by " + role); b.exec("drop role " + role) })
	for code, change := range map[string]func(conn *pgx.ConnConfig){
		"28P01": func(conn *pgx.ConnConfig) { conn.User, conn.Password = role, "wrong" },
		"3D000": func(conn *pgx.ConnConfig) { conn.Database = "no such database" },
		"42501": func(conn *pgx.ConnConfig) { conn.User, conn.Password = role, "right" },
	} {
		conn, err := pgx.ParseConfig(b.URL)
		require.NoError(t, err)
		change(conn)
		err = b.drain(b.Pool, rouse.Config{
			Projections: []rouse.Projection{projection{name: "p"}},
			ListenConn:  func(context.Context) (*pgx.ConnConfig, error) { return conn, nil },
		})
		var pgErr *pgconn.PgError
		require.ErrorAs(t, err, &pgErr)
		require.Equal(t, code, pgErr.Code)
		require.ErrorContains(t, err, "cannot start")
	}
}

// logText is a log.
type logText struct {
	mu  sync.Mutex // protects all
	all bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

// has reports whether a line has all of some words.
func (l *logText) has(words ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.all.String()) {
		all := true
		for _, word := range words {
			all = all && strings.Contains(line, word)
		}
		if all {
			return true
		}
	}
	return false
}

// A start that cannot finish says why, and finishes once it can.
func TestStartThatCannotFinishSaysWhy(t *testing.T) {
	t.Parallel()
	b := setup(t)
	conn, err := pgx.ParseConfig(b.URL)
	require.NoError(t, err)
	dial := conn.DialFunc
	var open atomic.Bool
	conn.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if !open.Load() {
			return nil, errors.New("the door is closed")
		}
		return dial(ctx, network, address)
	}
	var log logText
	w := b.start(b.Pool, rouse.Config{
		Projections: []rouse.Projection{projection{name: "p"}}, Log: zerolog.New(&log),
		ListenConn: func(context.Context) (*pgx.ConnConfig, error) { return conn, nil },
	})
	testdb.Eventually(t, patience, "the reason", func() (bool, error) {
		return log.has(`"level":"error"`, "the worker has not started", "the door is closed"), nil
	})
	open.Store(true)
	b.works(w.WaitStarted())
}

// A worker that registered in another database would be nobody here, and stand by for ever.
func TestListenAddressOfAnotherDatabaseIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, database := range map[string]string{"with the schema": testdb.New(t).Name, "without": "postgres"} {
		t.Run(name, func(t *testing.T) {
			conn, err := pgx.ParseConfig(b.URL)
			require.NoError(t, err)
			conn.Database = database
			err = b.drain(b.Pool, rouse.Config{
				Projections: []rouse.Projection{projection{name: "p"}},
				ListenConn:  func(context.Context) (*pgx.ConnConfig, error) { return conn, nil },
			})
			require.ErrorIs(t, err, partition.ErrElsewhere)
		})
	}
}

// An address that leads elsewhere later is said, keeps nobody alive, and is left once it leads back.
func TestListenAddressThatComesToLeadElsewhereIsNotServed(t *testing.T) {
	t.Parallel()
	b, other := setup(t), testdb.New(t)
	var away atomic.Bool
	var log logText
	w := b.start(b.Pool, rouse.Config{
		Projections: []rouse.Projection{projection{name: "p"}}, Log: zerolog.New(&log), LeaseTTL: 2 * time.Second,
		ListenConn: func(context.Context) (*pgx.ConnConfig, error) {
			if away.Load() {
				return pgx.ParseConfig(other.URL)
			}
			return pgx.ParseConfig(b.URL)
		},
	}).WaitStarted()
	b.works(w)
	away.Store(true)
	b.int(`select count(pg_terminate_backend(pid)) from pg_locks
		where locktype = 'advisory' and objsubid = 2 and classid = 1919907152 and database = (select oid from pg_database where datname = current_database())`)
	testdb.Eventually(t, patience, "it to be said", func() (bool, error) {
		return log.has(`"level":"error"`, "leads to another database"), nil
	})
	testdb.Eventually(t, patience, "the trust to end", func() (bool, error) { return !w.Health(b.ctx).Ready(), nil })
	var members int
	require.NoError(t, other.Pool.QueryRow(b.ctx, "select count(*) from projection_workers").Scan(&members))
	require.Zero(t, members, "it registers nowhere else")
	require.NotEqual(t, string(listener.Quiet), w.Status().Mode)
	require.Empty(t, w.Health(b.ctx).Faults)
	away.Store(false)
	ready(t, w)
	b.works(w)
}

// A crash gives the database another token, and the control connection follows it.
func TestControlConnectionFollowsANewIncarnation(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}}).WaitStarted()
	b.works(w)
	b.exec("delete from rouse_incarnation")
	b.int("select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
	testdb.Eventually(t, patience, "it to be back", func() (bool, error) { return w.Health(b.ctx).Ready(), nil })
	b.works(w)
}
