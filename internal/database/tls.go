package database

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// tlsRefused explains why a connection was not trusted, or not encrypted, although the address asks for it.
func tlsRefused(where string, from given, err error) (sentence string, is bool) {
	var host x509.HostnameError
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var answered *pgconn.PgError // by a server that was then asked without encryption
	switch {
	case errors.As(err, &host):
		return fmt.Sprintf("the certificate of PostgreSQL at %s is for another host: %s (connect by a name that is in it, or have one made for this name)",
			where, strings.TrimPrefix(host.Error(), "x509: ")), true
	case errors.As(err, &authority):
		return fmt.Sprintf("the certificate of PostgreSQL at %s is signed by an authority that is not trusted (name the authority's own certificate as sslrootcert in %s)",
			where, from.authority), true
	case errors.As(err, &invalid):
		return fmt.Sprintf("the certificate of PostgreSQL at %s cannot be used: %s (have a new one made)",
			where, strings.TrimPrefix(invalid.Error(), "x509: ")), true
	case strings.Contains(err.Error(), "server refused TLS connection") && !errors.As(err, &answered): // pgx has neither a type nor a value for it
		return fmt.Sprintf("PostgreSQL at %s does not encrypt connections, and the address asks for it (set ssl = on there, with a certificate; sslmode=disable only where nobody can listen)",
			where), true
	}
	return "", false
}

// addressError explains why an address cannot be used. It never holds the address, which may hold a password.
func addressError(err error) error {
	var file *fs.PathError
	if errors.As(err, &file) {
		return fmt.Errorf("%w: %s: %w (check sslrootcert, sslcert and sslkey, or the PGSSL* variables)", ErrAddressFile, file.Path, file.Err)
	}
	return ErrAddress // the cause quotes the address
}
