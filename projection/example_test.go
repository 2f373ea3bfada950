package projection_test

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/projection"
)

type ArticleAdded struct {
	Title string `json:"title"`
	Cents int64  `json:"cents"`
}

type ArticleRemoved struct{}

func init() {
	events.Register[ArticleAdded]("ArticleAdded", 1)
	events.Register[ArticleRemoved]("ArticleRemoved", 1)
}

// A projection of two handlers. It reads the events of their two types and no others, can be rebuilt beside itself because it names its table, and stops at
// an event that it cannot handle.
func ExampleNew() {
	articles := projection.New("articles",
		projection.Queue(func(b *pgx.Batch, e ArticleAdded, ev eventstore.Event) error {
			b.Queue("insert into articles (id, title, cents) values ($1, $2, $3)", ev.AggregateID, e.Title, e.Cents)
			return nil
		}),
		projection.Queue(func(b *pgx.Batch, _ ArticleRemoved, ev eventstore.Event) error {
			b.Queue("delete from articles where id = $1", ev.AggregateID)
			return nil
		}),
		projection.OfAggregates("article"),
		projection.Tables("articles"),
		projection.OnFailure(rouse.Stop))

	fmt.Println(articles.Name(), articles.(rouse.EventTyped).EventTypes())
	// Output: articles [ArticleAdded ArticleRemoved]
}

// An effect works outside the database. It says where it begins, so that it does not do again what has been done by other means.
func ExampleNewEffect() {
	notices := projection.NewEffect("notices",
		projection.Do(func(_ context.Context, e ArticleAdded, ev eventstore.Event) error {
			fmt.Println("new:", e.Title) // under ev.ID, by which a service can tell that it has come before
			return nil
		}),
		projection.StartFrom(rouse.Now))

	err := notices.Do(context.Background(), eventstore.Event{Type: "ArticleAdded", Version: 1, Payload: []byte(`{"title": "tea", "cents": 450}`)})
	fmt.Println(err)
	// Output:
	// new: tea
	// <nil>
}
