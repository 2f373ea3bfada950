package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/internal/database"
	"github.com/rouse-es/rouse/internal/process"
)

const (
	// KeeperCommand is the hidden command of rouse that runs KeepSchema.
	KeeperCommand = "demo-schema"

	// dropTimeout is how long the keeper tries to drop its schema, dropTry how long one attempt may take. Workers that are
	// about to end may hold locks for a moment.
	dropTimeout = time.Minute
	dropTry     = 10 * time.Second

	// keepWord is what the keeper is told if the schema is to stay.
	keepWord = "keep"
)

// KeepSchema makes the schema of a demo, says so on out, and drops it when in ends, unless it was told to keep it. It is the
// work of a process of its own, so the schema goes in one and the same way when the demo ends in order, when a second signal
// ends it at once, and when it is killed.
func KeepSchema(ctx context.Context, db *database.Database, name string, in io.Reader, out io.Writer) error {
	quoted := pgx.Identifier{name}.Sanitize()
	if err := onConnection(ctx, db, "create schema "+quoted); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(out, "ready") // nobody reads it if the parent is gone, and then the input ends
	told, err := io.ReadAll(in)
	if err == nil && strings.TrimSpace(string(told)) == keepWord {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
	defer cancel()
	for {
		err := onConnection(ctx, db, "drop schema if exists "+quoted+" cascade")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// onConnection runs one statement on a connection of its own, for which it takes dropTry at most.
func onConnection(ctx context.Context, db *database.Database, sql string) error {
	ctx, cancel := context.WithTimeout(ctx, dropTry)
	defer cancel()
	conn, err := db.Connect(ctx, "demo")
	if err != nil {
		return err
	}
	defer database.Close(conn)
	_, err = conn.Exec(ctx, sql)
	return err
}

// startKeeper starts the keeper and returns once the schema is there.
func startKeeper(ctx context.Context, schema string, env []string) (*process.Process, error) {
	ready, announce, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer ready.Close()
	keeper, err := startSelf("the keeper of the schema", env, announce, KeeperCommand, schema)
	_ = announce.Close() // the keeper has its own
	if err != nil {
		return nil, err
	}
	line := make(chan string, 1) // buffered, so that the reader below always ends
	go func() {
		text, _ := bufio.NewReader(ready).ReadString('\n') // the end of the keeper is the end of the file
		line <- text
	}()
	select {
	case text := <-line:
		if text == "ready\n" {
			return keeper, nil
		}
		_ = keeper.Stop(dropTry) // it has failed, and says why
		return nil, &ChildError{Code: max(keeper.State().ExitCode(), 1), Sentence: sentence(keeper.Output)}
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), stopKeeper(keeper, schema, false))
	}
}

// stopKeeper has the schema dropped, or kept, and waits for that.
func stopKeeper(keeper *process.Process, schema string, keep bool) error {
	if keep {
		keeper.Say(keepWord) // if it has ended, that is said below
	}
	if err := keeper.Stop(dropTimeout + dropTry); err != nil {
		return fmt.Errorf("the schema %s may still be there: %w: %s (drop it with: %s)", schema, err, sentence(keeper.Output), dropCommand(schema))
	}
	return nil
}

// dropCommand is for a person who drops a schema that stayed.
func dropCommand(schema string) string {
	return fmt.Sprintf(`psql "$DATABASE_URL" -c 'drop schema %s cascade'`, schema)
}
