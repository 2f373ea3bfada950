package reliability_test

import (
	"context"
	"errors"
	"slices"

	"github.com/rouse-es/rouse/internal/testdb"
)

// fault is something that breaks, and is mended.
type fault interface {
	Name() string
	// Inject breaks it. After an error it may be broken or not, and Heal must be called all the same.
	Inject(ctx context.Context) error
	// Heal mends it.
	Heal(ctx context.Context) error
}

// simple is a fault made of functions. A nil one does nothing: some faults are over at once, and some wait to be healed.
type simple struct {
	name         string
	inject, heal func(ctx context.Context) error
}

func (f simple) Name() string                     { return f.name }
func (f simple) Inject(ctx context.Context) error { return call(ctx, f.inject) }
func (f simple) Heal(ctx context.Context) error   { return call(ctx, f.heal) }

func call(ctx context.Context, f func(ctx context.Context) error) error {
	if f == nil {
		return nil
	}
	return f(ctx)
}

// together is several faults as one. They are injected in order and healed in the other.
type together struct {
	name   string
	faults []fault
}

func (f together) Name() string { return f.name }

func (f together) Inject(ctx context.Context) error {
	var errs []error
	for _, one := range f.faults {
		errs = append(errs, one.Inject(ctx))
	}
	return errors.Join(errs...)
}

func (f together) Heal(ctx context.Context) error {
	var errs []error
	for _, one := range slices.Backward(f.faults) {
		errs = append(errs, one.Heal(ctx))
	}
	return errors.Join(errs...)
}

// killer is a machine that can be ended in two ways: by kill -9, and by the server's own immediate stop, which is its Crash.
// The crash of any other is kill -9.
type killer interface {
	Kill(ctx context.Context) error
}

// killServer is kill -9 of the server and everything that belongs to it.
func killServer(m testdb.Machine) fault {
	if k, is := m.(killer); is {
		return simple{"server kill -9", k.Kill, m.Restart}
	}
	return simple{"server kill -9", m.Crash, m.Restart}
}

// crashServer is the server's own immediate stop, where there is one: nothing is flushed.
func crashServer(m testdb.Machine) fault {
	if _, is := m.(killer); is {
		return simple{"server immediate stop", m.Crash, m.Restart}
	}
	return killServer(m)
}

// restartServer is an orderly stop and start.
func restartServer(m testdb.Machine) fault { return simple{"server restart", m.Halt, m.Restart} }

// pauseServer freezes the server: connections stay open and nobody answers.
func pauseServer(m testdb.Machine) fault {
	return simple{"server frozen",
		func(context.Context) error { return m.Pause() },
		func(context.Context) error { return m.Resume() }}
}

// terminate ends sessions of the database by a statement that says how many it has ended.
func terminate(name string, db *database, sql string, args ...any) fault {
	return simple{name: name, inject: func(ctx context.Context) error { return db.exec(ctx, sql, args...) }}
}
