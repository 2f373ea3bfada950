package rousetest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/rousetest"
)

// In a test of your own t is its parameter.
var t *testing.T

// What a handler writes, without anything else. Nothing stays in the database.
func ExampleGiven() {
	db := rousetest.New(t, rousetest.Config{SQL: `create table balances (account text primary key, cents bigint not null)`})
	deposited := rousetest.Stream("account", "alice").JSON("Deposited", `{"cents": 1000}`).Events()
	withdrawn := rousetest.Stream("account", "alice").JSON("Withdrawn", `{"cents": 250}`).Events()

	rousetest.Given(t, db, balances{}, deposited...).When(withdrawn...).
		Then("select account, cents from balances", rousetest.Row{"alice", 750})
	rousetest.Given(t, db, balances{}).When(withdrawn...).Fails(errOverdrawn)
}

// That the read model can be built anew.
func ExampleReplay() {
	db := rousetest.New(t, rousetest.Config{SQL: `create table balances (account text primary key, cents bigint not null)`})
	events := rousetest.Stream("account", "alice").JSON("Deposited", `{"cents": 1000}`).JSON("Withdrawn", `{"cents": 250}`).Events()

	rousetest.Replay(t, db, balances{}, "select account, cents from balances order by account", events...)
}

// What becomes of an event that fails: a day passes in no time.
func ExampleDB_Advance() {
	db := rousetest.New(t, rousetest.Config{})
	mails := &mails{fails: 1}
	db.Append(t, eventstore.Stream{Type: "account", ID: "alice"}, eventstore.NewEvent{Type: "Opened", Payload: []byte(`{}`)})

	db.Drain(t, mails)
	if set := db.Parked(t, "mails"); len(set) != 1 || set[0].Error != "no mail today" {
		t.Fatal("it was not set aside")
	}
	db.Advance(t, 24*time.Hour)
	db.Drain(t, mails)
	if len(db.Parked(t, "mails")) != 0 {
		t.Fatal("it was not tried again")
	}
}

// A database where there is no test.
func ExampleOpen() {
	db, err := rousetest.Open(rousetest.Config{SQL: `create table balances (account text primary key, cents bigint not null)`})
	if err != nil {
		panic(err) // one sentence, which says what to do
	}
	defer db.Close()
	fmt.Println(db.Pool.Config().MaxConns)
	// Output: 20
}
