package rousetest_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/internal/scratch"
	"github.com/rouse-es/rouse/migrations"
	"github.com/rouse-es/rouse/rousetest"
)

// BenchmarkNew is what a test waits for until it has a database and an answer from it: with copies that were made ahead while the test before
// ran, and without, where tests do nothing.
func BenchmarkNew(b *testing.B) {
	for _, ahead := range []bool{true, false} {
		b.Run(fmt.Sprintf("ahead=%t", ahead), func(b *testing.B) {
			for b.Loop() {
				db, err := rousetest.Open(rousetest.Config{})
				if err != nil {
					b.Fatal(err)
				}
				if err := db.Pool.Ping(b.Context()); err != nil {
					b.Fatal(err)
				}
				if ahead {
					b.StopTimer()
				}
				if err := db.Close(); err != nil { // which waits for what is made for the next
					b.Fatal(err)
				}
				if ahead {
					b.StartTimer()
				}
			}
		})
	}
}

// BenchmarkMake compares the ways to make a database, or a schema, with the tables of Rouse, on a private server: in one that is named others
// may have what it makes, and what it leaves when it is killed stays there.
func BenchmarkMake(b *testing.B) {
	if os.Getenv(scratch.EnvURL) != "" {
		b.Skip("a server is named")
	}
	address, err := scratch.Server()
	if err != nil {
		b.Fatal(err)
	}
	conn, err := pgx.Connect(b.Context(), address)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(b.Context()))
	exec := func(b *testing.B, sql string) {
		b.Helper()
		if _, err := conn.Exec(b.Context(), sql); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("schema", func(b *testing.B) {
		for b.Loop() {
			exec(b, "create schema made; set search_path = made")
			if _, err := migrations.Up(b.Context(), conn); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			exec(b, "drop schema made cascade; reset search_path")
			b.StartTimer()
		}
	})
	db, err := rousetest.Open(rousetest.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	template := db.Pool.Config().ConnConfig.Database
	db.Pool.Close()
	for _, strategy := range []string{"wal_log", "file_copy"} {
		b.Run(strategy, func(b *testing.B) {
			for b.Loop() {
				exec(b, "create database made template "+template+" strategy "+strategy)
				b.StopTimer()
				exec(b, "drop database made")
				b.StartTimer()
			}
		})
	}
}
