package database

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// refresh reads the files again that an address names: the password (passfile, PGPASSFILE, a service file) and the certificates
// and keys (sslcert, sslkey, sslrootcert). It is for a connection that is about to be made: who rotates secrets rewrites such
// files, and what was read at the start is refused from then on. Where something cannot be read, as in the middle of a rewrite,
// what was read before stays; the server then says what it thinks of it. Hosts and everything else stay as they are, in the order
// that they have now. The connections of a worker beside the pool pass through here as well: one that leads elsewhere, or as
// another role, has secrets of its own, which were read with its own address.
func refresh(address string) func(context.Context, *pgx.ConnConfig) error {
	return func(_ context.Context, cfg *pgx.ConnConfig) error {
		fresh, err := pgx.ParseConfig(address)
		if err != nil {
			return nil //nolint:nilerr // it could be read at the start
		}
		if fresh.User != cfg.User || fresh.Database != cfg.Database || !isHostOf(fresh, cfg.Host, cfg.Port) {
			return nil
		}
		if fresh.Password != "" {
			cfg.Password = fresh.Password
		}
		all := append([]*pgconn.FallbackConfig{{Host: fresh.Host, Port: fresh.Port, TLSConfig: fresh.TLSConfig}}, fresh.Fallbacks...)
		renewed := func(host string, port uint16) *pgconn.FallbackConfig {
			for _, f := range all {
				if f.Host == host && f.Port == port && f.TLSConfig != nil {
					return f
				}
			}
			return nil
		}
		if f := renewed(cfg.Host, cfg.Port); f != nil && cfg.TLSConfig != nil {
			cfg.TLSConfig = f.TLSConfig
		}
		for _, fallback := range cfg.Fallbacks { // the pool gives a copy
			if f := renewed(fallback.Host, fallback.Port); f != nil && fallback.TLSConfig != nil {
				fallback.TLSConfig = f.TLSConfig
			}
		}
		return nil
	}
}

// isHostOf reports whether an address names the host.
func isHostOf(cfg *pgx.ConnConfig, host string, port uint16) bool {
	return cfg.Host == host && cfg.Port == port ||
		slices.ContainsFunc(cfg.Fallbacks, func(f *pgconn.FallbackConfig) bool { return f.Host == host && f.Port == port })
}
