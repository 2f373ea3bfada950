package appender

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rouse-es/rouse/eventstore"
)

// kind is one type of aggregate: how it begins, what happens to it once, and what may happen to it again and again. Which
// event comes next follows from the version, so a life goes on where an earlier run left it.
type kind struct {
	name  string
	once  []happening // versions 1, 2, 3, ...
	again []happening // any of them, from then on
}

// happening is one type of event.
type happening struct {
	eventType string
	payload   func(r *rand.Rand, id string) any
}

type fields map[string]any

var kinds = []kind{
	{
		name: "user",
		once: []happening{
			{"UserRegistered", func(r *rand.Rand, id string) any {
				first, last := pick(r, firstNames), pick(r, lastNames)
				return fields{"name": first + " " + last, "email": mail(first, last, id), "country": pick(r, countries), "plan": pick(r, plans)}
			}},
			{"UserEmailConfirmed", func(r *rand.Rand, _ string) any { return fields{"method": "link", "after_s": 30 + r.IntN(3600)} }},
		},
		again: []happening{
			{"UserLoggedIn", func(r *rand.Rand, _ string) any {
				return fields{"device": pick(r, devices), "two_factor": r.IntN(3) == 0}
			}},
			{"UserAddressChanged", func(r *rand.Rand, _ string) any {
				return fields{"street": fmt.Sprintf("%s %d", pick(r, streets), 1+r.IntN(120)), "city": pick(r, cities), "country": pick(r, countries)}
			}},
			{"UserPlanChanged", func(r *rand.Rand, _ string) any {
				return fields{"plan": pick(r, plans), "reason": pick(r, planReasons)}
			}},
		},
	},
	{
		name: "order",
		once: []happening{
			{"OrderPlaced", func(r *rand.Rand, _ string) any {
				lines := make([]fields, 1+r.IntN(4))
				total := 0
				for i := range lines {
					quantity, price := 1+r.IntN(3), 199+100*r.IntN(90)
					lines[i] = fields{"sku": sku(r), "quantity": quantity, "price_cents": price}
					total += quantity * price
				}
				return fields{"user_id": fmt.Sprintf("user-%05d", 1+r.IntN(1000)), "lines": lines, "total_cents": total, "currency": "EUR"}
			}},
			{"OrderPaid", func(r *rand.Rand, _ string) any {
				return fields{"method": pick(r, payments), "reference": fmt.Sprintf("pay_%08x", r.Uint32())}
			}},
			{"OrderShipped", func(r *rand.Rand, _ string) any {
				return fields{"carrier": pick(r, carriers), "tracking": fmt.Sprintf("%012d", r.Int64N(1e12)), "parcels": 1 + r.IntN(2)}
			}},
			{"OrderDelivered", func(r *rand.Rand, _ string) any { return fields{"signed_by": pick(r, firstNames)} }},
		},
		again: []happening{
			{"OrderReviewed", func(r *rand.Rand, _ string) any { return fields{"stars": 1 + r.IntN(5), "verified": true} }},
			{"OrderItemReturned", func(r *rand.Rand, _ string) any {
				return fields{"sku": sku(r), "quantity": 1, "reason": pick(r, returnReasons), "refund_cents": 199 + 100*r.IntN(90)}
			}},
			{"OrderInvoiceSent", func(r *rand.Rand, id string) any {
				return fields{"number": fmt.Sprintf("INV-%s-%04d", id, r.IntN(10000)), "format": "pdf"}
			}},
		},
	},
	{
		name: "account",
		once: []happening{
			{"AccountOpened", func(r *rand.Rand, _ string) any {
				return fields{"holder": pick(r, firstNames) + " " + pick(r, lastNames), "currency": "EUR", "limit_cents": 100_000 * (1 + r.IntN(10))}
			}},
		},
		again: []happening{
			{"MoneyDeposited", func(r *rand.Rand, _ string) any {
				return fields{"amount_cents": 1000 + r.IntN(200_000), "source": pick(r, sources)}
			}},
			{"MoneyWithdrawn", func(r *rand.Rand, _ string) any {
				return fields{"amount_cents": 1000 + r.IntN(50_000), "terminal": fmt.Sprintf("ATM-%04d", r.IntN(10000))}
			}},
			{"TransferSent", func(r *rand.Rand, _ string) any {
				return fields{"amount_cents": 500 + r.IntN(100_000), "to": fmt.Sprintf("account-%05d", 1+r.IntN(1000)), "text": pick(r, transferTexts)}
			}},
		},
	},
	{
		name: "product",
		once: []happening{
			{"ProductListed", func(r *rand.Rand, _ string) any {
				return fields{"sku": sku(r), "title": pick(r, adjectives) + " " + pick(r, products), "price_cents": 199 + 100*r.IntN(90)}
			}},
		},
		again: []happening{
			{"PriceChanged", func(r *rand.Rand, _ string) any {
				return fields{"price_cents": 199 + 100*r.IntN(90), "campaign": pick(r, campaigns)}
			}},
			{"StockReceived", func(r *rand.Rand, _ string) any {
				return fields{"quantity": 10 * (1 + r.IntN(20)), "warehouse": pick(r, cities)}
			}},
			{"StockCounted", func(r *rand.Rand, _ string) any { return fields{"quantity": r.IntN(300), "warehouse": pick(r, cities)} }},
		},
	},
}

var (
	firstNames    = []string{"Ada", "Björn", "Chiara", "Dmitri", "Élodie", "Farid", "Grace", "Hiroshi", "Inés", "Jürgen", "Kofi", "Léa", "Mei", "Noor"}
	lastNames     = []string{"Almeida", "Berg", "Costa", "Dubois", "Eriksson", "Fischer", "García", "Hansen", "Ito", "Jansen", "Kowalski", "Løvås"}
	countries     = []string{"DE", "FR", "ES", "PT", "SE", "NO", "NL", "PL", "IT", "JP"}
	cities        = []string{"Berlin", "Lyon", "Porto", "Gdańsk", "Malmö", "Utrecht", "Bologna", "Kyōto"}
	streets       = []string{"Lindenstraße", "Rue des Lilas", "Calle Mayor", "Storgatan", "Via Roma", "Kerkstraat"}
	plans         = []string{"free", "basic", "plus", "business"}
	planReasons   = []string{"upgrade", "downgrade", "trial ended", "support"}
	devices       = []string{"phone", "laptop", "tablet"}
	payments      = []string{"card", "sepa", "paypal", "invoice"}
	carriers      = []string{"DHL", "UPS", "PostNord", "DPD"}
	returnReasons = []string{"too small", "too large", "damaged", "changed mind"}
	sources       = []string{"salary", "cash", "refund", "transfer"}
	transferTexts = []string{"rent", "dinner", "thank you", "invoice 4711", "birthday"}
	adjectives    = []string{"Blue", "Foldable", "Quiet", "Large", "Wooden", "Warm"}
	products      = []string{"kettle", "desk lamp", "backpack", "chair", "notebook", "blanket"}
	campaigns     = []string{"none", "spring sale", "clearance", "black friday"}
)

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

func sku(r *rand.Rand) string { return fmt.Sprintf("SKU-%05d", r.IntN(20_000)) }

func mail(first, last, id string) string { return fmt.Sprintf("%s.%s+%s@example.com", first, last, id) }

// sampleStream is aggregate number i, counted from 0: a user, an order, an account, a product, a user, and so on.
func sampleStream(i int) eventstore.Stream {
	k := kinds[i%len(kinds)]
	return eventstore.Stream{Type: k.name, ID: fmt.Sprintf("%s-%05d", k.name, i/len(kinds)+1)}
}

// sampleEvent is what happens to a stream next, after a version.
func sampleEvent(r *rand.Rand, i int, version int64, correlation string) eventstore.NewEvent {
	k := kinds[i%len(kinds)]
	next := k.again[r.IntN(len(k.again))]
	if version < int64(len(k.once)) {
		next = k.once[version]
	}
	return eventstore.NewEvent{
		Type:     next.eventType,
		Payload:  mustJSON(next.payload(r, sampleStream(i).ID)),
		Metadata: mustJSON(fields{"source": "rouse append", "correlation_id": correlation, "recorded_at": time.Now().UTC().Format(time.RFC3339Nano)}),
	}
}

// mustJSON encodes what this file makes, which is always possible.
func mustJSON(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}
