package doctor

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
)

// role checks that workers may not do more than they have to.
func (e *examination) role(ctx context.Context) ([]Finding, error) {
	var name string
	var super bool
	if err := e.pool.QueryRow(ctx, sqlRole).Scan(&name, &super); err != nil {
		return nil, err
	}
	if super {
		return one(warn("make a role that has the rights of rouse_worker (deploy/sql/roles.sql) and give it to workers",
			"%s is a superuser: whoever gets hold of a worker, or of what its handlers run, may do anything on the server", name)), nil
	}
	return one(ok("%s is no superuser", name)), nil
}

// access checks that only those connect who are let in, since whoever connects can delay work.
func (e *examination) access(ctx context.Context) ([]Finding, error) {
	var public bool
	var revoke string
	if err := e.pool.QueryRow(ctx, sqlAccess).Scan(&public, &revoke); err != nil {
		return nil, err
	}
	if public {
		return one(warn("run deploy/sql/roles.sql, or: grant connect on it to the roles that need it, then "+revoke,
			"every role of the server may connect to the database, hold locks and send notifications that delay the work")), nil
	}
	return one(ok("only roles that were let in may connect")), nil
}

// encryption checks that connections to another host are encrypted.
func (e *examination) encryption(ctx context.Context) ([]Finding, error) {
	var plain []string
	conn, err := e.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	if isPlain(conn.Conn().PgConn().Conn()) {
		plain = append(plain, "the address")
	}
	conn.Release()
	if e.Listen != nil {
		listen, err := e.listening(ctx)
		if err != nil {
			return one(ok("the address to listen through cannot be looked at (see pooler)")), nil //nolint:nilerr // the check of the pooler has said why
		}
		defer closeConn(listen)
		if isPlain(listen.PgConn().Conn()) {
			plain = append(plain, "the address to listen through")
		}
	}
	if len(plain) > 0 {
		return one(warn("use sslmode=verify-full with sslrootcert in the address (docs/deployment.md)",
			"another host is reached without encryption (%s): who stands between can read events and change them", strings.Join(plain, ", "))), nil
	}
	return one(ok("whatever leaves this machine is encrypted")), nil
}

// isPlain reports whether a connection leads to another host and is not encrypted.
func isPlain(conn net.Conn) bool {
	_, encrypted := conn.(*tls.Conn)
	return !encrypted && !isHere(conn.RemoteAddr())
}

// isHere reports whether an address is that of this machine: a socket of Unix, or a loopback address.
func isHere(address net.Addr) bool {
	if address.Network() == "unix" {
		return true
	}
	at, err := netip.ParseAddrPort(address.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}
