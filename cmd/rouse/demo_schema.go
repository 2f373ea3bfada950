package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"
)

const (
	// dropTimeout is how long the keeper tries to drop its schema, dropTry how long one attempt may take. Workers that are
	// about to end may hold locks for a moment.
	dropTimeout = time.Minute
	dropTry     = 10 * time.Second

	// keepWord is what the keeper is told if the schema is to stay.
	keepWord = "keep"
)

// schemaKeeperCommand is the keeper of the schema of a demo, a process of its own. It makes the schema, and drops it when its
// standard input ends. So the schema goes in one and the same way when the demo ends in order, when a second signal ends it at
// once, and when it is killed.
func (a *app) schemaKeeperCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "demo-schema NAME",
		Short:  "Keep the schema of a demo until standard input ends",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.parsed = true
			signal.Ignore(syscall.SIGPIPE) // a parent that is gone must not end this process before its work is done
			if !strings.HasPrefix(args[0], schemaPrefix) {
				return usagef("the schema %s is none of a demo", args[0]) // it would be dropped
			}
			return a.keepSchema(cmd.Context(), args[0], os.Stdin)
		},
	}
}

// keepSchema makes the schema, says so, and drops it when in ends, unless it was told to keep it.
func (a *app) keepSchema(ctx context.Context, name string, in io.Reader) error {
	quoted := pgx.Identifier{name}.Sanitize()
	if err := a.onConnection(ctx, "create schema "+quoted); err != nil {
		return err
	}
	_ = a.say("ready") // nobody reads it if the parent is gone, and then the input ends
	told, err := io.ReadAll(in)
	if err == nil && strings.TrimSpace(string(told)) == keepWord {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
	defer cancel()
	for {
		err := a.onConnection(ctx, "drop schema if exists "+quoted+" cascade")
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
func (a *app) onConnection(ctx context.Context, sql string) error {
	ctx, cancel := context.WithTimeout(ctx, dropTry)
	defer cancel()
	conn, err := a.connect(ctx, "rouse demo")
	if err != nil {
		return err
	}
	defer closeConn(conn)
	_, err = conn.Exec(ctx, sql)
	return err
}

// startSchemaKeeper starts the keeper and returns once the schema is there.
func (a *app) startSchemaKeeper(ctx context.Context, schema string, env []string) (*child, error) {
	ready, announce, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer ready.Close()
	keeper, err := startChild("the keeper of the schema", env, announce, "demo-schema", schema)
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
		_ = keeper.stop(dropTry) // it has failed, and says why
		return nil, &childError{code: max(keeper.cmd.ProcessState.ExitCode(), exitOther), sentence: keeper.output.sentence()}
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), stopSchemaKeeper(keeper, schema, false))
	}
}

// stopSchemaKeeper has the schema dropped, or kept, and waits for that.
func stopSchemaKeeper(keeper *child, schema string, keep bool) error {
	if keep {
		_, _ = io.WriteString(keeper.stdin, keepWord+"\n") // if it has ended, that is said below
	}
	if err := keeper.stop(dropTimeout + dropTry); err != nil {
		return fmt.Errorf("the schema %s may still be there: %w: %s (drop it with: %s)", schema, err, keeper.output.sentence(), dropCommand(schema))
	}
	return nil
}

// dropCommand is for a person who drops a schema that stayed.
func dropCommand(schema string) string {
	return fmt.Sprintf(`psql "$DATABASE_URL" -c 'drop schema %s cascade'`, schema)
}
