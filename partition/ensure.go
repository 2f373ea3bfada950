package partition

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/internal/db"
)

// Ensure creates a projection and its checkpoints where they do not exist, and returns the number of its partitions.
// want is the number to expect; 0 means the number in the database, and Default for a new projection. It returns an
// error that wraps ErrMismatch if the database has another number, or ErrCount. Many processes may call it at once.
func Ensure(ctx context.Context, d db.DB, projection string, want int) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	create := want
	if create == 0 {
		create = Default
	}
	if err := CheckCount(create); err != nil {
		return 0, err
	}
	if err := db.Exec(ctx, d, sqlEnsureInsert.For(d), projection, create); err != nil {
		return 0, fmt.Errorf("partition: create projection %s: %w", projection, err)
	}
	var have, made int
	if err := db.WriteRow(ctx, d, []any{&have, &made}, sqlEnsureCheckpoints.For(d), projection); err != nil {
		return 0, fmt.Errorf("partition: create the checkpoints of %s: %w", projection, err)
	}
	if want != 0 && want != have {
		return 0, fmt.Errorf("%w: %s is kept in %d, and %d were asked for (ask for %d, or for none to take what is there)",
			ErrMismatch, projection, have, want, have)
	}
	return have, nil
}

// EnsureAll creates those of some projections that do not exist, with create partitions each (0: Default), and returns the numbers
// of partitions of those that have all of their checkpoints. For one that is left out, because somebody is changing it, call
// Ensure, which waits. Many processes may call it at once.
func EnsureAll(ctx context.Context, d db.DB, projections []string, create int) (have map[string]int, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if create == 0 {
		create = Default
	}
	if err := CheckCount(create); err != nil {
		return nil, err
	}
	have, err = ensured(ctx, d, projections)
	if err != nil || len(have) == len(projections) {
		return have, err
	}
	if err := db.Exec(ctx, d, sqlEnsureAll.For(d), projections, create); err != nil {
		return nil, fmt.Errorf("partition: create projections: %w", err)
	}
	return ensured(ctx, d, projections)
}

// ensured returns the numbers of partitions of those of some projections that have all of their checkpoints.
func ensured(ctx context.Context, d db.DB, projections []string) (map[string]int, error) {
	have := map[string]int{}
	err := db.Query(ctx, d, func(rows pgx.Rows) error {
		var name string
		var partitions int
		_, err := pgx.ForEachRow(rows, []any{&name, &partitions}, func() error {
			have[name] = partitions
			return nil
		})
		return err
	}, sqlEnsureLook.For(d), projections)
	if err != nil {
		return nil, fmt.Errorf("partition: look at the projections: %w", err)
	}
	return have, nil
}

// Querier is a pool, a connection or a transaction.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// EnsureCheckpoints creates the checkpoints that the partitions of a projection lack, at position 0, and returns the
// number of its partitions. It waits for a change of that number that is under way.
func EnsureCheckpoints(ctx context.Context, q Querier, projection string) (have int, err error) {
	var made int
	if err := q.QueryRow(ctx, sqlEnsureCheckpoints.In(""), projection).Scan(&have, &made); err != nil {
		return 0, fmt.Errorf("partition: create the checkpoints of %s: %w", projection, err)
	}
	return have, nil
}
