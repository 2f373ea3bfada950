package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	// lookEvery is how often the database is asked while a browser looks.
	lookEvery = time.Second

	// maxClients bounds the streams at one time.
	maxClients = 100

	// writeTimeout is how long a browser may take to accept a snapshot before its stream is ended.
	writeTimeout = 10 * time.Second
)

var (
	errClosed = errors.New("dashboard: it is closed")
	errFull   = errors.New("dashboard: too many streams")
)

// stream shares one loop of looks among all clients. The loop runs while there is a client, and belongs to the one that leaves
// last, which waits for it, or to close.
type stream struct {
	looker *looker
	ended  chan struct{} // closed by close

	turn sync.Mutex // held while a browser joins or leaves, so that there is one loop at a time
	stop context.CancelFunc
	done chan struct{} // closed at the end of the loop; nil: there is none

	mu      sync.Mutex // protects the fields below
	clients map[chan struct{}]bool
	latest  []byte
	closed  bool
}

func newStream(l *looker) *stream {
	return &stream{looker: l, ended: make(chan struct{}), clients: map[chan struct{}]bool{}}
}

// join returns a channel that tells of every new snapshot. It is buffered to 1: a client that is slow leaves some out.
func (s *stream) join() (news chan struct{}, err error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, errClosed
	case len(s.clients) >= maxClients:
		return nil, errFull
	}
	news = make(chan struct{}, 1)
	s.clients[news] = true
	if s.latest != nil {
		news <- struct{}{}
	}
	if s.done == nil {
		ctx, cancel := context.WithCancel(context.Background())
		s.stop, s.done = cancel, make(chan struct{})
		go s.run(ctx, s.done)
	}
	return news, nil
}

// leave ends the loop if nobody is left.
func (s *stream) leave(news chan struct{}) {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	delete(s.clients, news)
	left := len(s.clients)
	s.mu.Unlock()
	if left == 0 {
		s.end()
	}
}

// end ends the loop, if there is one. The caller holds turn.
func (s *stream) end() {
	if s.done == nil {
		return
	}
	s.stop()
	<-s.done
	s.stop, s.done = nil, nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest = nil // who joins later wants to see what is, not what was
}

func (s *stream) close() {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.ended)
	}
	s.mu.Unlock()
	s.end()
}

// run looks until ctx ends.
func (s *stream) run(ctx context.Context, done chan struct{}) {
	defer close(done)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		snapshot, err := json.Marshal(s.looker.look(ctx))
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			s.publish(snapshot)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *stream) publish(snapshot []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest = snapshot
	for news := range s.clients {
		select {
		case news <- struct{}{}:
		default:
		}
	}
}

func (s *stream) snapshot() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest
}

// hello is what a client is told first.
type hello struct {
	// MayAct tells whether this client may act, and CSRF what it has to send then.
	MayAct bool   `json:"may_act"`
	CSRF   string `json:"csrf,omitempty"`

	// History has the lag of each projection over the last minutes, as far as a browser looked.
	History map[string][]point `json:"history"`
}

// events is the stream of a client, as server-sent events: hello, and then a snapshot at most once a second.
func (d *Dashboard) events(rw http.ResponseWriter, r *http.Request) {
	news, err := d.stream.join()
	if err != nil {
		refuse(rw, http.StatusServiceUnavailable, "no more streams are served now: try again later")
		return
	}
	defer d.stream.leave(news)
	ctx, who := r.Context(), d.guard.session(r)
	if who.valid {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, who.expiry)
		defer cancel()
	}
	out := http.NewResponseController(rw)
	rw.Header().Set("Content-Type", "text/event-stream")
	rw.Header().Set("X-Accel-Buffering", "no") // for proxies that would collect
	first, err := json.Marshal(hello{MayAct: d.cfg.Token != "", CSRF: who.csrf, History: d.stream.looker.histories()})
	if err != nil || send(rw, out, "hello", first) != nil {
		return
	}
	for {
		select {
		case <-news:
			if send(rw, out, "snapshot", d.stream.snapshot()) != nil {
				return
			}
		case <-ctx.Done():
			return
		case <-d.stream.ended:
			return
		}
	}
}

// send writes one event of the stream.
func send(rw http.ResponseWriter, out *http.ResponseController, name string, data []byte) error {
	_ = out.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := fmt.Fprintf(rw, "event: %s\ndata: %s\n\n", name, data); err != nil {
		return err
	}
	return out.Flush()
}
