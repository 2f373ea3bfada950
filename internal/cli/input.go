package cli

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/pflag"

	"github.com/rouse-es/rouse/internal/database"
	"github.com/rouse-es/rouse/internal/signal"
)

// untilEOFFlag adds the flag by which one rouse runs another as its child.
func untilEOFFlag(flags *pflag.FlagSet, value *bool) {
	flags.BoolVar(value, "until-eof", false, "stop in order when standard input ends")
	_ = flags.MarkHidden("until-eof") // it is there
}

// untilEOF runs do, with on until standard input ends.
func untilEOF(ctx context.Context, on bool, do func(ctx context.Context) error) error {
	if !on {
		return do(ctx)
	}
	return signal.UntilEOF(ctx, do)
}

// listenConfig reads the address of the listening connection, now and again before each connect, with the files that it names.
// An error of the first time is one of usage.
func listenConfig(db *database.Database, address, name string) (func(context.Context) (*pgx.ConnConfig, error), error) {
	if _, err := db.ListenConfig(address, name); err != nil {
		return nil, usageError{fmt.Errorf("--listen-url: %w", err)}
	}
	return func(context.Context) (*pgx.ConnConfig, error) { return db.ListenConfig(address, name) }, nil
}
