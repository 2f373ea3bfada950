package db

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// connectTimeout is for one host where the configuration has no ConnectTimeout: twice what a login with TLS takes on a line of
// half a second. The pool's own default, two minutes, would outlast every lease: an address that has moved to another server is
// looked up anew only by the next try.
const connectTimeout = 10 * time.Second

// Dialer opens the connections that a worker has beside its pool, as the pool opens its own: with its hooks, and with the time
// that each host of the address has. Its methods may be called by many goroutines.
type Dialer struct {
	config func(ctx context.Context) (*pgx.ConnConfig, error) // returns what nobody else writes to
	before func(ctx context.Context, conn *pgx.ConnConfig) error
	after  func(ctx context.Context, conn *pgx.Conn) error

	mu     sync.Mutex // protects worked
	worked host       // the one that the last connection leads to; zero: none yet
}

// host is one host of an address, and which of its addresses it was.
type host struct {
	name string
	port uint16
	ip   string // "" for a socket
}

// DialerOf returns a Dialer for conn, without hooks.
func DialerOf(conn *pgx.ConnConfig) *Dialer {
	return &Dialer{config: func(context.Context) (*pgx.ConnConfig, error) { return conn.Copy(), nil }}
}

// Beside returns a Dialer with the hooks of pool. config returns the settings of the next connection; nil: those of the pool.
func Beside(pool *pgxpool.Pool, config func(ctx context.Context) (*pgx.ConnConfig, error)) *Dialer {
	d := besideOf(pool.Config())
	if config != nil {
		d.config = func(ctx context.Context) (*pgx.ConnConfig, error) {
			conn, err := config(ctx)
			if err != nil || conn == nil {
				return nil, cmp.Or(err, errNoSettings)
			}
			return conn.Copy(), nil
		}
	}
	return d
}

// besideOf is Beside for the settings of a pool.
func besideOf(of *pgxpool.Config) *Dialer {
	d := DialerOf(of.ConnConfig)
	d.before, d.after = of.BeforeConnect, of.AfterConnect
	return d
}

var errNoSettings = errors.New("no settings were returned")

// Dial opens a connection. The host that the last one leads to is tried first. Each hook, each look-up of a name, and each host
// with all of its login has ConnectTimeout, 10 s where there is none. step is called before each of them with the time by which
// it ends, on one goroutine after the other; nil: nobody is told.
func (d *Dialer) Dial(ctx context.Context, step func(until time.Time)) (*pgx.Conn, error) {
	if step == nil {
		step = func(time.Time) {}
	}
	conn, err := d.settings(ctx, step)
	if err != nil {
		return nil, err
	}
	t := &trial{timeout: conn.ConnectTimeout, step: step}
	d.mu.Lock()
	d.worked.first(&conn.Config)
	t.watch(&conn.Config, d.worked)
	d.mu.Unlock()
	c, err := pgx.ConnectConfig(ctx, conn)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.worked = t.last(&conn.Config)
	d.mu.Unlock()
	if d.after == nil {
		return c, nil
	}
	if err := within(ctx, t.timeout, step, func(ctx context.Context) error { return d.after(ctx, c) }); err != nil {
		closeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second) // for the farewell, which waits for no answer
		defer cancel()
		_ = c.Close(closeCtx)
		return nil, fmt.Errorf("AfterConnect of the pool: %w", err)
	}
	return c, nil
}

// settings returns the settings of the next connection, as the hook of the pool has changed them.
func (d *Dialer) settings(ctx context.Context, step func(time.Time)) (conn *pgx.ConnConfig, err error) {
	err = within(ctx, connectTimeout, step, func(ctx context.Context) error {
		conn, err = d.config(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("settings of the connection: %w", err)
	}
	if conn.ConnectTimeout <= 0 {
		conn.ConnectTimeout = connectTimeout
	}
	if d.before == nil {
		return conn, nil
	}
	if err := within(ctx, conn.ConnectTimeout, step, func(ctx context.Context) error { return d.before(ctx, conn) }); err != nil {
		return nil, fmt.Errorf("BeforeConnect of the pool: %w", err)
	}
	return conn, nil
}

// within tells of a step that takes as long as timeout at most, and does it.
func within(ctx context.Context, timeout time.Duration, step func(time.Time), do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	step(time.Now().Add(timeout))
	return do(ctx)
}

// first changes cfg so that h is tried before the other hosts.
func (h host) first(cfg *pgconn.Config) {
	all := append([]*pgconn.FallbackConfig{{Host: cfg.Host, Port: cfg.Port, TLSConfig: cfg.TLSConfig}}, cfg.Fallbacks...)
	rank := func(f *pgconn.FallbackConfig) int {
		if f.Host == h.name && f.Port == h.port {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(all, func(a, b *pgconn.FallbackConfig) int { return rank(a) - rank(b) })
	cfg.Host, cfg.Port, cfg.TLSConfig, cfg.Fallbacks = all[0].Host, all[0].Port, all[0].TLSConfig, all[1:]
}

// trial is what is seen of one connect.
type trial struct {
	timeout time.Duration
	step    func(time.Time)

	mu     sync.Mutex        // protects the fields below
	names  map[string]string // by address, as it is dialed or without a port: the host that it was looked up for
	dialed string            // the last address; a connect that succeeds leads there
}

// watch makes the look-ups and dials of cfg go through t. Of the addresses of a host that of worked comes first.
func (t *trial) watch(cfg *pgconn.Config, worked host) {
	t.names = map[string]string{}
	lookup, dial := cfg.LookupFunc, cfg.DialFunc
	cfg.LookupFunc = func(ctx context.Context, name string) (found []string, err error) {
		err = within(ctx, t.timeout, t.step, func(ctx context.Context) error {
			found, err = lookup(ctx, name)
			return err
		})
		found = slices.Clone(found)
		if i := slices.Index(found, worked.ip); i > 0 && name == worked.name {
			found = slices.Insert(slices.Delete(found, i, i+1), 0, worked.ip)
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, ip := range found {
			t.names[ip] = name
		}
		return found, err
	}
	cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		t.mu.Lock()
		t.dialed = address
		t.mu.Unlock()
		t.step(time.Now().Add(t.timeout)) // pgx bounds it, and the login behind it
		return dial(ctx, network, address)
	}
}

// last returns the host of cfg that was dialed last; zero: it cannot be told.
func (t *trial) last(cfg *pgconn.Config) host {
	t.mu.Lock()
	defer t.mu.Unlock()
	ip, _, _ := net.SplitHostPort(t.dialed) // "" for a socket
	for _, f := range append([]*pgconn.FallbackConfig{{Host: cfg.Host, Port: cfg.Port}}, cfg.Fallbacks...) {
		if _, address := pgconn.NetworkAddress(f.Host, f.Port); address == t.dialed {
			return host{name: f.Host, port: f.Port}
		}
		if name, looked := t.names[ip]; looked && name == f.Host && t.dialed == net.JoinHostPort(ip, fmt.Sprint(f.Port)) {
			return host{name: f.Host, port: f.Port, ip: ip}
		}
		if name, looked := t.names[t.dialed]; looked && name == f.Host { // a look-up that finds ports
			return host{name: f.Host, port: f.Port, ip: t.dialed}
		}
	}
	return host{}
}
