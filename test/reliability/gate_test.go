package reliability_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// gate is a way to the server through a proxy, which can be poisoned.
type gate struct {
	proxy *toxiproxy.Proxy
	url   string
}

// newGate opens a gate to the database at direct, until the end of the test.
func newGate(t testing.TB, name, direct string) *gate {
	t.Helper()
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	g := &gate{proxy: toxiproxy.NewProxy(api, name, "127.0.0.1:0", u.Host)}
	if err := g.proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.proxy.Stop)
	u.Host = g.proxy.Listen
	g.url = u.String()
	return g
}

// The directions of what a toxic applies to: what clients send, and what they get.
const (
	up   = "upstream"
	down = "downstream"
)

// toxic is a fault of the network behind a gate, in one direction.
func (g *gate) toxic(kind, direction string, attributes map[string]int) fault {
	name := kind + "-" + direction
	return simple{name,
		func(context.Context) error {
			order, err := json.Marshal(map[string]any{"name": name, "type": kind, "stream": direction, "attributes": attributes})
			if err != nil {
				return err
			}
			if _, err := g.proxy.Toxics.AddToxicJson(strings.NewReader(string(order))); err != nil {
				return fmt.Errorf("toxic %s: %w", name, err)
			}
			return nil
		},
		func(ctx context.Context) error { return g.proxy.Toxics.RemoveToxic(ctx, name) },
	}
}

// slow delays everything.
func (g *gate) slow() fault {
	delay := map[string]int{"latency": 60, "jitter": 40} // ms
	return together{"network slow", []fault{g.toxic("latency", up, delay), g.toxic("latency", down, delay)}}
}

// reset ends each connection by a reset as soon as anything is sent over it.
func (g *gate) reset() fault {
	now := map[string]int{"timeout": 0}
	return together{"network resets", []fault{g.toxic("reset_peer", up, now), g.toxic("reset_peer", down, now)}}
}

// halfOpen lets everything vanish that is sent, in both directions. Connections stay open, and new ones can be made.
func (g *gate) halfOpen() fault {
	return together{"network half-open", []fault{g.vanish(up), g.vanish(down)}}
}

// oneWay lets everything vanish that is sent in one direction.
func (g *gate) oneWay(direction string) fault {
	return together{map[string]string{up: "network loses requests", down: "network loses answers"}[direction], []fault{g.vanish(direction)}}
}

func (g *gate) vanish(direction string) fault {
	return g.toxic("timeout", direction, map[string]int{"timeout": 0})
}
