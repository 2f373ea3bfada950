package cli

import (
	"fmt"
	"net"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/database"
	"github.com/rouse-es/rouse/internal/testdb"
)

// TestAnAddressWithWhatAFileLeavesAroundIt is that address: line breaks of secrets, quotes of files of variables.
func TestAnAddressWithWhatAFileLeavesAroundIt(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	for _, address := range []string{db.URL + "\n", " " + db.URL + "\r\n", `"` + db.URL + `"`, "'" + db.URL + "'\n", `" ` + db.URL + ` "`} {
		r := runRouse(t, []string{"DATABASE_URL=" + address}, "status")
		require.Zero(t, r.code, "%q: %s", address, r.stderr)
	}
}

// TestAParameterOfAnotherDriverIsNamed, with what to do about it.
func TestAParameterOfAnotherDriverIsNamed(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	for i, parameter := range []string{"gssencmode", "keepalives_idle", "pgbouncer", "schema"} {
		address := with(t, db.URL, func(u *url.URL) {
			q := u.Query()
			q.Set(parameter, "1")
			if i%2 == 0 {
				q.Set("sslmode", "prefer") // the server that does not encrypt is then asked again, and its answer is the one that counts
			}
			u.RawQuery = q.Encode()
		})
		requireFault(t, runRouse(t, []string{"DATABASE_URL=" + address}, "status"), 3, `"`+parameter+`"`, "remove it from the address")
	}
}

// TestAnAddressOfSeveralHostsLeadsToThePrimary, in whatever order they stand, unless it says which one will do.
func TestAnAddressOfSeveralHostsLeadsToThePrimary(t *testing.T) {
	t.Parallel()
	primary := testdb.Server(t, nil)
	db := testdb.On(t, primary)
	standby, err := primary.Standby(t.Context())
	require.NoError(t, err)
	testdb.StopAtCleanup(t, standby)
	hosts := fmt.Sprintf("127.0.0.1:%d,127.0.0.1:%d", standby.Port(), primary.Port())
	for attrs, recovering := range map[string]bool{"": false, "any": true, "standby": true, "read-write": false} {
		d := database.Database{URL: with(t, db.URL, func(u *url.URL) {
			u.Host = hosts
			q := u.Query()
			if attrs != "" {
				q.Set("target_session_attrs", attrs)
			}
			u.RawQuery = q.Encode()
		})}
		pool, err := d.Pool(t.Context(), "several", 1)
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		require.Equal(t, recovering, value[bool](t, pool, "select pg_is_in_recovery()"), attrs)
	}
}

// refuses is the address of a pooler that answers every login with a message of PgBouncer's, until the test ends.
func refuses(t *testing.T, message string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan struct{})
	t.Cleanup(func() { require.NoError(t, l.Close()); <-ended })
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			pooler := pgproto3.NewBackend(conn, conn)
			if _, err := pooler.ReceiveStartupMessage(); err == nil {
				pooler.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "08P01", Message: message})
				_ = pooler.Flush()
			}
			_ = conn.Close()
		}
	}()
	return l.Addr().String()
}

// TestAParameterThatAPoolerDoesNotTakeIsNamed, with what to do about it.
func TestAParameterThatAPoolerDoesNotTakeIsNamed(t *testing.T) {
	t.Parallel()
	for message, says := range map[string][]string{
		"unsupported startup parameter: statement_timeout": {"does not take the parameter statement_timeout", "ignore_startup_parameters", "remove it from the address"},
		"unsupported startup parameter: options":           {"does not take the parameter options", "ignore_startup_parameters"},
		"unsupported startup parameter in options: jit":    {"does not take the parameter jit", "ignore_startup_parameters"},
		"unsupported startup parameter: search_path":       {"does not take the parameter search_path", "alter role ROLE set search_path", "--schema"},
		"server login has been failing":                    {"refuses: server login has been failing", "max_client_conn"},
	} {
		address := "postgres://u@" + refuses(t, message) + "/x?sslmode=disable"
		requireFault(t, runRouse(t, []string{"DATABASE_URL=" + address}, "status"), 3, says...)
	}
}

// TestALoginThatFailsAtTheListenAddressNamesIt, and not the address of the pool.
func TestALoginThatFailsAtTheListenAddressNamesIt(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	for says, change := range map[string]func(u *url.URL){
		"check the password in ROUSE_LISTEN_URL or --listen-url": func(u *url.URL) { u.User = url.UserPassword("ghost", "wrong") },
		"name another in ROUSE_LISTEN_URL or --listen-url":       func(u *url.URL) { u.Path = "/no_such_database" },
	} {
		r := runRouse(t, append(on(db), "ROUSE_LISTEN_URL="+with(t, db.URL, change)), "worker", "--log-level", "off")
		requireFault(t, r, 3, says)
		require.NotContains(t, r.stderr, "DATABASE_URL")
	}
	pooler := "postgres://u@" + refuses(t, "unsupported startup parameter: statement_timeout") + "/x?sslmode=disable"
	requireFault(t, runRouse(t, append(on(db), "ROUSE_LISTEN_URL="+pooler), "worker", "--log-level", "off"), 3, "parameter statement_timeout", "remove it from the address")
}

// TestTheListenAddressMayHaveARoleOfItsOwn, with a password of its own.
func TestTheListenAddressMayHaveARoleOfItsOwn(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	role := db.Name + "_listens"
	mustExec(t, db.Pool, "create role "+role+" superuser login password 'its own'")
	t.Cleanup(func() { mustExec(t, db.Pool, "drop owned by "+role); mustExec(t, db.Pool, "drop role "+role) })
	listen := with(t, db.URL, func(u *url.URL) { u.User = url.UserPassword(role, "its own") })
	r := runRouse(t, append(on(db), "ROUSE_LISTEN_URL="+listen), "worker", "--once", "--log-level", "off")
	require.Zero(t, r.code, r.stderr)
}
