package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/projection"
	"github.com/rouse-es/rouse/rousetest"
)

func shopDB(t *testing.T) *rousetest.DB {
	return rousetest.New(t, rousetest.Config{Migrations: migrations})
}

func anOrder(id string) eventstore.Stream { return eventstore.Stream{Type: "order", ID: id} }

func TestDecisions(t *testing.T) {
	placed := order{}.after(orderPlaced{Customer: "anna", Cents: 1250})
	if _, err := (orderPaid{}).decide(order{}); err == nil {
		t.Error("an order that is not there was paid")
	}
	if events, err := (orderPaid{}).decide(placed); err != nil || len(events) != 1 {
		t.Errorf("an order was not paid: %v, %v", events, err)
	}
	if events, err := (orderPlaced{}).decide(placed); err != nil || len(events) != 0 {
		t.Errorf("an order that is sent twice is placed once: %v, %v", events, err)
	}
}

func TestOrdersListsWhatIsPlacedAndPaid(t *testing.T) {
	db := shopDB(t)
	placed := rousetest.Stream("order", "o-1").Add(orderPlaced{Customer: "anna", Cents: 1250})
	rousetest.Given(t, db, orders()).
		When(placed.Events()...).
		Then("select id, customer, cents, paid from orders", rousetest.Row{"o-1", "anna", 1250, false})
	rousetest.Given(t, db, orders(), placed.Events()...).
		When(placed.Add(orderPaid{}).Events()[1:]...).
		Then("select id, paid from orders", rousetest.Row{"o-1", true})
}

func TestReadModelsAreTheSameWhenTheyAreMadeAgain(t *testing.T) {
	db := shopDB(t)
	history := append(
		rousetest.Stream("order", "o-1").Add(orderPlaced{Customer: "anna", Cents: 1250}, orderPaid{}).Events(),
		rousetest.Stream("order", "o-2").Add(orderPlaced{Customer: "anna", Cents: 500}).Events()...)
	rousetest.Replay(t, db, orders(), "select * from orders order by id", history...)
	rousetest.Replay(t, db, customers(), "select * from customers", history...)
	rousetest.Replay(t, db, days(), "select * from days", history...)
}

func TestReceiptThatFailsIsTriedAgainAndThenLeftToPeople(t *testing.T) {
	db := shopDB(t)
	sent, fails := 0, true
	effect := receipts(func(context.Context, string, string) error {
		if fails {
			return errors.New("no printer")
		}
		sent++
		return nil
	})
	db.Append(t, anOrder("o-1"), orderPlaced{Customer: "anna", Cents: 1250}, orderPaid{})
	db.Drain(t, effect)
	if sent != 0 || len(db.Parked(t, "receipts")) != 0 {
		t.Error("what was there before the effect began was handled")
	}
	db.Append(t, anOrder("o-2"), orderPlaced{Customer: "anna", Cents: 1250}, orderPaid{})
	db.Append(t, anOrder("o-3"), orderPlaced{Customer: "bert", Cents: 500}, orderPaid{})
	db.Drain(t, effect)
	fails = false
	db.Advance(t, time.Hour)
	db.Drain(t, effect)
	if sent != 2 {
		t.Errorf("%d receipts were sent, not 2", sent)
	}
	fails = true
	db.Append(t, anOrder("o-4"), orderPlaced{Customer: "bert", Cents: 500}, orderPaid{})
	for range 14 {
		db.Drain(t, effect)
		db.Advance(t, time.Hour)
	}
	if parked := db.Parked(t, "receipts"); len(parked) != 1 || !parked[0].DueAt.IsZero() {
		t.Errorf("after 14 tries it waits for people: %v", parked)
	}
}

func TestEveryAnswerIsSeenInTheList(t *testing.T) {
	db := shopDB(t)
	db.Worker(t, rouse.Config{Projections: []rouse.Projection{orders(), customers(), days()}})
	server := httptest.NewServer(site(db.Pool))
	defer server.Close()
	for _, id := range []string{"o-1", "o-2", "o-3"} {
		ask(t, server, http.MethodPut, "/orders/"+id, `{"customer": "anna", "cents": 1250}`, http.StatusOK)
		if list := ask(t, server, http.MethodGet, "/orders", "", http.StatusOK); !strings.Contains(list, id) {
			t.Errorf("the list lacks %s: %s", id, list)
		}
	}
	ask(t, server, http.MethodPut, "/orders/o-1", `{"customer": "anna", "cents": 1250}`, http.StatusOK)
	ask(t, server, http.MethodPut, "/orders/o-1/payment", "", http.StatusOK)
	ask(t, server, http.MethodPut, "/orders/o-1/payment", "", http.StatusConflict)
	ask(t, server, http.MethodPut, "/orders/o-9/payment", "", http.StatusConflict)
	db.Expect(t, "select id, paid from orders order by id", rousetest.Row{"o-1", true}, rousetest.Row{"o-2", false}, rousetest.Row{"o-3", false})
}

func TestWhatTheDatabaseRefusesIsNoConflict(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db := shopDB(t)
	if _, err := db.Pool.Exec(ctx, "alter table events rename to secret_events"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(site(db.Pool))
	defer server.Close()
	said := ask(t, server, http.MethodPut, "/orders/o-1/payment", "", http.StatusServiceUnavailable)
	if said != "it was not recorded: try again\n" {
		t.Errorf("it tells the world %q", said)
	}
}

func TestListIsRebuiltWhileItIsRead(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db := shopDB(t)
	db.Append(t, anOrder("o-1"), orderPlaced{Customer: "anna", Cents: 1250}, orderPaid{})
	db.Drain(t, orders())
	if _, err := db.Pool.Exec(ctx, "update orders set cents = 0"); err != nil { // a bug has done it
		t.Fatal(err)
	}
	db.Worker(t, rouse.Config{Projections: []rouse.Projection{orders()}})
	if err := projection.Rebuild(ctx, db.Pool, "orders", rouse.Beginning, nil); err != nil {
		t.Fatal(err)
	}
	db.Expect(t, "select id, cents, paid from orders", rousetest.Row{"o-1", 1250, true})
}

func TestTheShopIsSmall(t *testing.T) {
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(source), "\n"); lines > 160 {
		t.Errorf("%d lines, and docs/comparison.md says 160", lines)
	}
}

// ask sends a request and returns the answer, which must have a status.
func ask(t *testing.T, server *httptest.Server, method, path, body string, status int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != status {
		t.Fatalf("%s %s: %s, %s, %v", method, path, answer.Status, text, err)
	}
	return string(text)
}
