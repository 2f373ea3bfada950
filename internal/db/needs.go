package db

import (
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Needs are the settings that a transaction on a connection must have made because the client does not know that they hold
// already. Asking the server would cost as much as to make them.
type Needs struct {
	// Forms: texts in UTF8 and dates in ISO, as pgx reads them.
	Forms bool

	// Unlimited: no limit on the transaction as a whole, which 17 and later can have.
	Unlimited bool
}

// AllNeeds are those of a connection of which nothing is known.
var AllNeeds = Needs{Forms: true, Unlimited: true}

// unlimitedSince is the first version of PostgreSQL with transaction_timeout.
const unlimitedSince = 17

// NeedsOf returns what a transaction needs that begins next on conn. A server reports client_encoding and DateStyle before it
// is ready for the next statement, whoever has changed them, so a connection of pgx's knows them. Between it and the server may
// stand a pooler, which deals out sessions that others have changed. In pgx's default mode a pooler must know the statements of
// each client, and one that does keeps the client's settings too; in the modes for other poolers no report is believed.
func NeedsOf(conn *pgx.Conn) Needs {
	known := conn.PgConn().CustomData()
	needs, is := known[needsKey].(Needs)
	if !is {
		needs = lastingNeeds(conn)
		known[needsKey] = needs
	}
	if !needs.Forms {
		told := conn.PgConn().ParameterStatus
		needs.Forms = told("client_encoding") != "UTF8" || !strings.HasPrefix(told("DateStyle"), "ISO")
	}
	return needs
}

// needsKey is where the needs of a connection that last are kept, in its CustomData: pgx copies a whole configuration for whoever asks
// for the mode, with that of TLS.
const needsKey = "rouse.needs"

// lastingNeeds returns what transactions on conn need for as long as it lives.
func lastingNeeds(conn *pgx.Conn) Needs {
	if conn.Config().DefaultQueryExecMode != pgx.QueryExecModeCacheStatement {
		return AllNeeds
	}
	major, _, _ := strings.Cut(conn.PgConn().ParameterStatus("server_version"), ".")
	version, err := strconv.Atoi(major)
	return Needs{Unlimited: err != nil || version >= unlimitedSince}
}
