package projection_test

import (
	"context"
	"fmt"
	"time"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/projection"
)

// ParcelSent is what customers are told of.
type ParcelSent struct{ To, Number string }

var _ = events.Register[ParcelSent]("ParcelSent", 1)

// mail stands for a mail server.
func mail(_ context.Context, idempotencyKey, to, text string) error { return nil }

// An effect of a handler, with a policy: eight hours of tries, and then the event waits for people.
func ExampleNewEffect() {
	effect := projection.NewEffect("parcel_mails",
		projection.Do(func(ctx context.Context, e ParcelSent, ev eventstore.Event) error {
			return mail(ctx, ev.ID.String(), e.To, "your parcel "+e.Number+" is on its way")
		}),
		projection.StartFrom(rouse.Now),
		projection.Retry(rouse.RetryPolicy{Tries: 20, Pause: rouse.Doubling(time.Second, time.Hour)}),
		projection.OnFailure(rouse.Park),
	)
	fmt.Println(effect.Name())
	// Output: parcel_mails
}
