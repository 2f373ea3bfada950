package integration_test

import (
	"net"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// address is a fixed address in front of changing servers, as a virtual IP or a service name is.
type address struct {
	listener net.Listener
	target   atomic.Int64 // port
	knocks   atomic.Int64 // connections that were asked for
	wg       sync.WaitGroup

	mu    sync.Mutex                // protects conns
	conns map[net.Conn]*atomic.Bool // whether it is frozen
}

func newAddress(t *testing.T, port int) *address {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	a := &address{listener: listener, conns: map[net.Conn]*atomic.Bool{}}
	a.target.Store(int64(port))
	a.wg.Go(a.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		a.cut()
		a.wg.Wait()
	})
	return a
}

// url is the URL of a database behind the address.
func (a *address) url(direct string) string {
	u, err := url.Parse(direct)
	if err != nil {
		return ""
	}
	u.Host = a.listener.Addr().String()
	return u.String()
}

func (a *address) accept() {
	for {
		client, err := a.listener.Accept()
		if err != nil {
			return
		}
		a.knocks.Add(1)
		a.wg.Go(func() { a.forward(client) })
	}
}

func (a *address) forward(client net.Conn) {
	server, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.FormatInt(a.target.Load(), 10)), 5*time.Second)
	if err != nil {
		_ = client.Close()
		return
	}
	frozen := a.keep(client, server)
	var both sync.WaitGroup
	for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			pass(pair[0], pair[1], frozen)
			_ = pair[0].Close()
			_ = pair[1].Close()
		})
	}
	both.Wait()
}

// pass sends on what it reads, until one side ends. While frozen it swallows everything.
func pass(from, to net.Conn, frozen *atomic.Bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if frozen.Load() {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (a *address) keep(conns ...net.Conn) *atomic.Bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	frozen := &atomic.Bool{}
	for _, c := range conns {
		a.conns[c] = frozen
	}
	return frozen
}

// freeze makes the connections of now go silent: open on both sides, and nothing gets through any more.
func (a *address) freeze() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, frozen := range a.conns {
		frozen.Store(true)
	}
}

// cut closes every connection that goes through the address.
func (a *address) cut() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for c := range a.conns {
		_ = c.Close()
	}
	clear(a.conns)
}
