package listener_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// wires are the network connections of a listener, all that it has opened, and the faults that a test gives them.
type wires struct {
	dial pgconn.DialFunc

	mu      sync.Mutex // protects the fields below
	dials   []time.Time
	all     []*wire
	refused bool // no connection is let through
	mute    bool // the server's notifications get lost, and nothing else: so it is behind a transaction pooler
	lost    int  // so many did

	swallow string         // a connection over which this is written is half-open from then on
	came    map[string]int // notifications that the server has sent, by channel
}

var errRefused = errors.New("refused by the test")

// connect opens a connection for pgx.
func (w *wires) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	w.mu.Lock()
	w.dials = append(w.dials, time.Now())
	refused := w.refused
	w.mu.Unlock()
	if refused {
		return nil, errRefused
	}
	conn, err := w.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &wire{Conn: conn, wires: w}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, c)
	return c, nil
}

func (w *wires) refuse(refused bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refused = refused
}

func (w *wires) setMute(mute bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mute = mute
}

// loses reports whether a notification gets lost.
func (w *wires) loses() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mute {
		w.lost++
	}
	return w.mute
}

// losses counts the notifications that got lost.
func (w *wires) losses() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost
}

// hangAt makes a connection half-open when text is written to it; "" ends that for those to come.
func (w *wires) hangAt(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.swallow = text
}

// notified notes a notification: four bytes of length, four of the session that has sent it, the channel and a zero.
func (w *wires) notified(message []byte) {
	const head = 8
	channel, _, _ := bytes.Cut(message[head:], []byte{0})
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.came == nil {
		w.came = map[string]int{}
	}
	w.came[string(channel)]++
}

// notifications counts what the server has sent to channel.
func (w *wires) notifications(channel string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.came[channel]
}

// turns counts the round trips of the connections so far: how often something was written after an answer.
func (w *wires) turns() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.all {
		n += int(c.turns.Load())
	}
	return n
}

// attempts are the times at which a connection was asked for.
func (w *wires) attempts() []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]time.Time(nil), w.dials...)
}

// connections counts the sessions that were asked for, so far.
func (w *wires) connections() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.all {
		if c.session {
			n++
		}
	}
	return n
}

// wrote looks at the first message of a connection: pgx also opens one to cancel the statement of another.
func (w *wires) wrote(c *wire, p []byte) {
	const cancelRequest = 80877102
	if !c.asked.Swap(true) {
		c.turns.Add(1)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.swallow != "" && bytes.Contains(p, []byte(w.swallow)) {
		c.setSilent()
	}
	if !c.begun {
		c.begun, c.session = true, len(p) >= 8 && binary.BigEndian.Uint32(p[4:8]) != cancelRequest
	}
}

// silence makes every connection of now half-open: each end believes in it, and nothing passes. Later ones are sound.
func (w *wires) silence() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.all {
		c.setSilent()
	}
}

// cut ends all connections of now, the half-open ones too, and lets both ends know.
func (w *wires) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.all {
		_ = c.Conn.Close()
	}
}

// wire is one connection. It understands as much of the protocol as it takes to lose whole messages.
type wire struct {
	net.Conn
	wires *wires

	begun, session bool // something was written, and it asked for a session; protected by wires.mu

	asked atomic.Bool  // something was written, and no answer has come yet
	turns atomic.Int64 // how often that was so

	mu     sync.Mutex // protects silent and closed
	silent bool
	closed bool

	reading sync.Mutex // protects the fields below
	buf     [4096]byte
	in, out []byte // the beginning of a message; whole messages that were not handed out yet
}

func (c *wire) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	for {
		if len(c.out) > 0 && !c.isSilent() {
			n := copy(p, c.out)
			c.out = c.out[n:]
			c.asked.Store(false)
			return n, nil
		}
		if c.isClosed() {
			return 0, net.ErrClosed
		}
		n, err := c.Conn.Read(c.buf[:])
		c.take(c.buf[:n])
		if err != nil && c.isClosed() {
			return 0, net.ErrClosed
		}
		if err != nil {
			return 0, err
		}
	}
}

// take cuts what has come into messages: a byte that names it, and four with the length of the rest, themselves included.
func (c *wire) take(p []byte) {
	const head, notification = 5, 'A'
	c.in = append(c.in, p...)
	for len(c.in) >= head {
		size := 1 + int(binary.BigEndian.Uint32(c.in[1:head]))
		if len(c.in) < size {
			return
		}
		if c.in[0] == notification {
			c.wires.notified(c.in[1:size])
		}
		if c.in[0] != notification || !c.wires.loses() {
			c.out = append(c.out, c.in[:size]...)
		}
		c.in = c.in[size:]
	}
}

func (c *wire) Write(p []byte) (int, error) {
	c.wires.wrote(c, p)
	if c.isSilent() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// Close of a half-open connection is not noticed by the server.
func (c *wire) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.silent {
		return c.Conn.SetDeadline(time.Now())
	}
	return c.Conn.Close()
}

func (c *wire) SetDeadline(at time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	return c.Conn.SetDeadline(at)
}

func (c *wire) SetReadDeadline(at time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	return c.Conn.SetReadDeadline(at)
}

func (c *wire) setSilent() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.silent = true
}

func (c *wire) isSilent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.silent
}

func (c *wire) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}
