// Command read-your-writes is a web server whose pages show what their reader has just written, although the read model is made by a worker:
// see README.md.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/app"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/examples/read-your-writes/lastwrite"
	"github.com/rouse-es/rouse/migrations"
)

// defaultURL is the database where no variable names another one: ../README.md says how to make it.
const defaultURL = "postgres://postgres:postgres@localhost:5432/pupsourcing_example?sslmode=disable"

func main() {
	if os.Getenv("DATABASE_URL")+os.Getenv("PGHOST")+os.Getenv("PGDATABASE")+os.Getenv("PGSERVICE") == "" {
		_ = os.Setenv("DATABASE_URL", defaultURL)
	}
	app.Run(run)
}

const table = `create table if not exists read_your_writes_notes (id text primary key, events int not null)`

// notes counts the changes of each note.
type notes struct{}

// Name names the checkpoints of the projection.
func (notes) Name() string { return "read_your_writes_notes" }

// Apply handles one event, in the transaction of its checkpoint.
func (notes) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	if ev.AggregateType != "note" {
		return nil
	}
	_, err := tx.Exec(ctx, `insert into read_your_writes_notes as n values ($1, 1) on conflict (id) do update set events = n.events + 1`, ev.AggregateID)
	return err
}

// site is a page for each note: a POST changes it, a GET shows how often it was changed.
func site(pool *pgxpool.Pool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /notes/{id}", func(w http.ResponseWriter, r *http.Request) {
		var a eventstore.Appended
		err := pgx.BeginFunc(r.Context(), pool, func(tx pgx.Tx) (err error) {
			a, err = eventstore.Append(r.Context(), tx, eventstore.Stream{Type: "note", ID: r.PathValue("id")}, eventstore.Any(),
				eventstore.NewEvent{Type: "NoteChanged", Payload: json.RawMessage(`{}`)})
			return err
		})
		if err != nil {
			http.Error(w, "the note was not changed", http.StatusInternalServerError)
			return
		}
		lastwrite.Remember(w, a) // behind the commit
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /notes/{id}", func(w http.ResponseWriter, r *http.Request) {
		var events int
		err := pool.QueryRow(r.Context(), "select coalesce(max(events), 0) from read_your_writes_notes where id = $1", r.PathValue("id")).Scan(&events)
		if err != nil {
			http.Error(w, "the note cannot be shown", http.StatusInternalServerError)
			return
		}
		_, _ = fmt.Fprint(w, events)
	})
	return mux
}

func run(ctx context.Context, env app.Env) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	pool := env.Pool
	if err := migrations.Check(ctx, pool); err != nil {
		return fmt.Errorf("%w; for the examples: cd ../basic && go generate", err)
	}
	if _, err := pool.Exec(ctx, table); err != nil {
		return err
	}
	stop, err := work(ctx, pool) // in another process, for all that the site knows
	if err != nil {
		return err
	}
	defer stop()

	waiter := rouse.NewWaiter(pool, rouse.WaiterConfig{})
	defer waiter.Close()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: lastwrite.Middleware(waiter, notes{}.Name(), 5*time.Second, site(pool)), ReadHeaderTimeout: time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() { _ = server.Close(); <-served }()
	return browse(ctx, "http://"+listener.Addr().String()+"/notes/"+eventstore.NewID().String())
}

// work runs a worker until stop is called.
func work(ctx context.Context, pool *pgxpool.Pool) (stop func(), err error) {
	worker, err := rouse.New(pool, rouse.Config{Projections: []rouse.Projection{notes{}}})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	select {
	case <-worker.Started():
		return func() { cancel(); <-ended }, nil
	case err := <-ended:
		cancel()
		return nil, err
	}
}

// browse writes and reads in turn, as one user would.
func browse(ctx context.Context, note string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	client := &http.Client{Jar: jar}
	const writes = 20
	seen := 0
	for n := 1; n <= writes; n++ {
		if _, err := ask(ctx, client, http.MethodPost, note); err != nil {
			return err
		}
		page, err := ask(ctx, client, http.MethodGet, note)
		if err != nil {
			return err
		}
		if page == fmt.Sprint(n) {
			seen++
		}
	}
	fmt.Printf("wrote %d times, and the next page showed it %d times\n", writes, seen)
	return nil
}

// ask sends one request and returns the body of its answer.
func ask(ctx context.Context, client *http.Client, method, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return "", err
	}
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("%s %s: %s", method, url, body)
	}
	return string(body), err
}
