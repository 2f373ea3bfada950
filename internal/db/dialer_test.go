package db_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/testdb"
)

// silent is the address of a host that takes connections and never answers, as one without power looks.
func silent(t *testing.T) (host string, port uint16) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts; the kernel does
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return "127.0.0.1", uint16(l.Addr().(*net.TCPAddr).Port)
}

// dials are the addresses that were dialed.
type dials struct {
	mu   sync.Mutex // protects list
	list []string
}

func (d *dials) of(cfg *pgx.ConnConfig) {
	dial := cfg.DialFunc
	cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		d.mu.Lock()
		d.list = append(d.list, address)
		d.mu.Unlock()
		return dial(ctx, network, address)
	}
}

func (d *dials) take() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := d.list
	d.list = nil
	return list
}

// Each host has its time, and the one that worked comes first the next time.
func TestDial_PassesASilentHostAndThenLeavesItAside(t *testing.T) {
	t.Parallel()
	cfg := testdb.New(t).Pool.Config().ConnConfig
	cfg.TLSConfig = nil
	cfg.Fallbacks = []*pgconn.FallbackConfig{{Host: cfg.Host, Port: cfg.Port}}
	cfg.Host, cfg.Port = silent(t)
	cfg.ConnectTimeout = 500 * time.Millisecond
	var dials dials
	dials.of(cfg)
	d := db.DialerOf(cfg)
	for n, want := range []int{2, 1} {
		var steps int
		conn, err := d.Dial(t.Context(), func(until time.Time) {
			steps++
			require.Greater(t, time.Until(until), 400*time.Millisecond)
		})
		require.NoError(t, err)
		require.NoError(t, conn.Close(t.Context()))
		require.Len(t, dials.take(), want, "connect %d", n+1)
		require.GreaterOrEqual(t, steps, want)
	}
}

// Of the addresses of one name, too.
func TestDial_TriesTheAddressFirstThatWorked(t *testing.T) {
	t.Parallel()
	cfg := testdb.New(t).Pool.Config().ConnConfig
	cfg.TLSConfig, cfg.Fallbacks = nil, nil
	network, there := pgconn.NetworkAddress(cfg.Host, cfg.Port)
	cfg.Host = "both.example.com"
	cfg.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"192.0.2.1", "127.0.0.1"}, nil }
	inner := (&net.Dialer{}).DialContext
	cfg.DialFunc = func(ctx context.Context, _, address string) (net.Conn, error) {
		if strings.HasPrefix(address, "192.0.2.1:") {
			return nil, errors.New("nobody is there")
		}
		return inner(ctx, network, there)
	}
	var dials dials
	dials.of(cfg)
	d := db.DialerOf(cfg)
	for _, want := range []int{2, 1} {
		conn, err := d.Dial(t.Context(), nil)
		require.NoError(t, err)
		require.NoError(t, conn.Close(t.Context()))
		require.Len(t, dials.take(), want)
	}
}

// A name server that never answers, and hooks that do not, hold a connect no longer than a host may.
func TestDial_EachStepHasItsTimeAndEnds(t *testing.T) {
	t.Parallel()
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for name, change := range map[string]func(cfg *pgxpool.Config){
		"name server": func(cfg *pgxpool.Config) {
			cfg.ConnConfig.Host = "a.example.com"
			cfg.ConnConfig.LookupFunc = func(ctx context.Context, _ string) ([]string, error) { return nil, hang(ctx) }
		},
		"host": func(cfg *pgxpool.Config) { cfg.ConnConfig.Host, cfg.ConnConfig.Port = silent(t) },
		"before": func(cfg *pgxpool.Config) {
			cfg.BeforeConnect = func(ctx context.Context, _ *pgx.ConnConfig) error { return hang(ctx) }
		},
		"after": func(cfg *pgxpool.Config) {
			cfg.AfterConnect = func(ctx context.Context, _ *pgx.Conn) error { return hang(ctx) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := testdb.New(t).Pool.Config()
			cfg.ConnConfig.TLSConfig, cfg.ConnConfig.Fallbacks, cfg.ConnConfig.ConnectTimeout = nil, nil, 300*time.Millisecond
			change(cfg)
			pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
			require.NoError(t, err)
			t.Cleanup(pool.Close)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err = db.Beside(pool, nil).Dial(ctx, nil)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NoError(t, ctx.Err())
		})
	}
}

// What the hooks make of one connect is not there in the next, and what the settings are is asked each time.
func TestDial_AsksForSettingsAndHooksEachTime(t *testing.T) {
	t.Parallel()
	own := testdb.New(t)
	cfg := own.Pool.Config()
	cfg.ConnConfig.RuntimeParams["application_name"] = "a"
	var names []string
	cfg.BeforeConnect = func(_ context.Context, conn *pgx.ConnConfig) error {
		conn.RuntimeParams["application_name"] += "b"
		return nil
	}
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "select set_config('application_name', current_setting('application_name') || 'c', false)")
		return err
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	fixed := own.Pool.Config().ConnConfig
	asked := 0
	fixed.RuntimeParams["application_name"] = "listen"
	for _, d := range []*db.Dialer{db.Beside(pool, nil), db.Beside(pool, func(context.Context) (*pgx.ConnConfig, error) { asked++; return fixed, nil })} {
		for range 2 {
			conn, err := d.Dial(t.Context(), nil)
			require.NoError(t, err)
			var name string
			require.NoError(t, conn.QueryRow(t.Context(), "select current_setting('application_name')").Scan(&name))
			names = append(names, name)
			require.NoError(t, conn.Close(t.Context()))
		}
	}
	require.Equal(t, []string{"abc", "abc", "listenbc", "listenbc"}, names)
	require.Equal(t, 2, asked)
}
