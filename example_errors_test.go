package rouse_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
)

// payments asks a service to pay, and tells the worker what its answers mean.
type payments struct{ url string }

func (payments) Name() string { return "payments" }

func (p payments) Do(ctx context.Context, ev eventstore.Event) error {
	var order struct{ IBAN string }
	if err := json.Unmarshal(ev.Payload, &order); err != nil {
		return rouse.Permanent(fmt.Errorf("the payload is no order: %w", err)) // no other try can mend it
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/"+order.IBAN, nil)
	if err != nil {
		return rouse.Permanent(err)
	}
	req.Header.Set("Idempotency-Key", ev.ID.String())
	if lease, is := rouse.LeaseOf(ctx); is { // a service that remembers the highest epoch can refuse a worker that was replaced
		req.Header.Set("Fencing-Token", fmt.Sprintf("%d/%d", lease.Partition, lease.Epoch))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return rouse.Unavailable(errors.New("the payment service does not answer")) // everything waits, and no try counts
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusTooManyRequests:
		return rouse.RetryAfter(errors.New("too many payments"), time.Minute)
	case http.StatusUnprocessableEntity:
		return rouse.Permanent(errors.New("the payment service refuses the order"))
	default:
		return fmt.Errorf("the payment service answers %d", resp.StatusCode) // tried again, as the RetryPolicy says
	}
}

// What a handler returns decides what becomes of the event.
func ExampleUnavailable() {
	err := payments{url: "http://127.0.0.1:1"}.Do(context.Background(), eventstore.Event{Payload: []byte(`{"IBAN": "DE02"}`)})
	fmt.Println(err)
	err = payments{}.Do(context.Background(), eventstore.Event{Payload: []byte(`[]`)})
	fmt.Println(err)
	// Output:
	// the payment service does not answer
	// the payload is no order: json: cannot unmarshal array into Go value of type struct { IBAN string }
}
