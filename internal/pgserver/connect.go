package pgserver

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
)

// ownSettings are all settings of a connection that pgx takes from PG* variables or
// from files of the user where an address is silent about them.
var ownSettings = url.Values{
	"password": {""}, "connect_timeout": {"0"}, "target_session_attrs": {"any"},
	"sslmode": {"disable"}, "sslcertmode": {"disable"}, "sslcert": {""}, "sslkey": {""}, "sslrootcert": {""},
	"sslpassword": {""}, "sslnegotiation": {""}, "sslsni": {""}, "channel_binding": {"prefer"}, "require_auth": {""},
	"min_protocol_version": {""}, "max_protocol_version": {""}, "krbsrvname": {""}, "krbspn": {""},
}

// serviceFile has the one service that the connections of this package ask for
// where PGSERVICE would name another one. It sets nothing.
const serviceFile = "[rouse]\n"

// connConfig leads to the maintenance database, whatever PG* variables say.
func (s *Server) connConfig() (_ *pgx.ConnConfig, err error) {
	address, err := url.Parse(s.URL("postgres"))
	if err != nil {
		return nil, err
	}
	settings := url.Values{"passfile": {s.passPath()}}
	for name, value := range ownSettings {
		settings[name] = value
	}
	if os.Getenv("PGSERVICE") != "" {
		path, writeErr := writeServiceFile()
		if writeErr != nil {
			return nil, fmt.Errorf("pgserver: write a file that stands in for the one of PGSERVICE: %w", writeErr)
		}
		defer func() { err = errors.Join(err, os.Remove(path)) }()
		settings.Set("service", "rouse")
		settings.Set("servicefile", path)
	}
	address.RawQuery = encode(settings)
	cfg, err := pgx.ParseConfig(address.String())
	if err != nil {
		return nil, err
	}
	clear(cfg.RuntimeParams) // PGOPTIONS and the like
	return cfg, nil
}

func writeServiceFile() (path string, err error) {
	f, err := os.CreateTemp("", "rouse-pgservice-")
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(serviceFile)
	return f.Name(), errors.Join(err, f.Close())
}

// connect opens a connection to the maintenance database.
func (s *Server) connect(ctx context.Context) (*pgx.Conn, error) {
	cfg, err := s.connConfig()
	if err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, cfg)
}

// exec runs one statement on a connection of its own.
func (s *Server) exec(ctx context.Context, sql string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql, args...)
	return errors.Join(err, closeConn(ctx, conn))
}

// closeConn says goodbye to the server, for which it takes a second at most.
func closeConn(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	return conn.Close(ctx)
}
