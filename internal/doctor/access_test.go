package doctor

import (
	"context"
	"net"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
)

func TestWorkerThatIsASuperuserIsWarnedOf(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var err error
	b.cfg.Pool, err = pgxpool.ParseConfig(b.URL)
	require.NoError(t, err)
	b.requireOnly(b.examine(), "role", Warn, "is a superuser", "roles.sql")
}

func TestDatabaseThatEverybodyMayConnectToIsWarnedOf(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec("grant connect on database " + b.Name + " to public")
	b.requireOnly(b.examine(), "access", Warn, "every role of the server may connect", "revoke connect on database "+b.Name+" from public")
	b.exec("revoke connect on database " + b.Name + " from public")
	b.requireWell()
}

// distant is a connection that seems to lead to another host.
type distant struct {
	net.Conn
	at net.Addr
}

func (d distant) RemoteAddr() net.Addr { return d.at }

func TestConnectionInTheClearIsWarnedOf(t *testing.T) {
	t.Parallel()
	b := setup(t)
	away := func(cfg *pgx.ConnConfig) {
		dial := cfg.DialFunc
		cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			return distant{conn, &net.TCPAddr{IP: net.ParseIP("192.0.2.7"), Port: 5432}}, err
		}
	}
	listen, err := pgx.ParseConfig(testdb.As(t, b.URL, b.Name+"_worker"))
	require.NoError(t, err)
	b.cfg.Listen = listen
	b.requireWell()
	away(b.cfg.Listen)
	b.requireOnly(b.examine(), "encryption", Warn, "(the address to listen through)", "sslmode=verify-full")
	away(b.cfg.Pool.ConnConfig)
	b.requireOnly(b.examine(), "encryption", Warn, "(the address, the address to listen through)")
}

func TestWhatIsHere(t *testing.T) {
	t.Parallel()
	for address, here := range map[net.Addr]bool{
		&net.UnixAddr{Name: "/run/postgresql/.s.PGSQL.5432", Net: "unix"}: true,
		&net.TCPAddr{IP: net.ParseIP("127.0.0.1"), Port: 5432}:            true,
		&net.TCPAddr{IP: net.ParseIP("::ffff:127.0.0.2"), Port: 5432}:     true,
		&net.TCPAddr{IP: net.ParseIP("::1"), Port: 5432}:                  true,
		&net.TCPAddr{IP: net.ParseIP("10.0.0.1"), Port: 5432}:             false,
		&net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 5432, Zone: "x"}:   false,
	} {
		require.Equal(t, here, isHere(address), address)
	}
}
