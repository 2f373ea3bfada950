package migrations_test

import (
	"context"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/migrations"
)

// Who owns the tables applies the migrations, before the workers of the new program start. The command rouse migrate does the same.
func ExampleUp() {
	ctx, cancel := context.WithTimeout(context.Background(), migrations.Timeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		panic(err)
	}
	defer conn.Close(ctx)
	applied, err := migrations.Up(ctx, conn)
	if err != nil {
		panic(err)
	}
	fmt.Println("applied", applied, "migrations, the schema is at version", migrations.Latest())
}

// Where another tool applies migrations, it gets them as one script.
func ExamplePrint() {
	if err := migrations.Print(os.Stdout); err != nil {
		panic(err)
	}
}

// A program can look, when it starts, whether the schema is there, and whether its role may do what a worker has to.
func ExampleCheck() {
	ctx := context.Background()
	var pool *pgxpool.Pool // of the program
	if err := migrations.Check(ctx, pool); err != nil {
		fmt.Println(err) // a sentence that says what to do
	}
	if err := migrations.CheckRights(ctx, pool); err != nil {
		fmt.Println(err)
	}
}
