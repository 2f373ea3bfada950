package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"maps"
	"net"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// wire counts what connections send to the server, whoever sends it and by whatever part of the protocol: nothing that a worker
// asks is left out because it goes past a pool or a tracer. A statement that it has seen before costs no allocation, so that it adds
// none to those that are counted.
type wire struct {
	mu    sync.Mutex // protects the fields below
	sent  sent
	lines map[string]int64 // executions of each statement, by its first line that is no comment
}

// sent is what was sent.
type sent struct {
	statements int64 // that were executed, without those of ends
	ends       int64 // those that begin, commit or roll back a transaction
	trips      int64 // round trips: the server was asked to answer
}

func (s sent) minus(before sent) sent {
	return sent{s.statements - before.statements, s.ends - before.ends, s.trips - before.trips}
}

// all are the statements of both kinds.
func (s sent) all() int64 { return s.statements + s.ends }

// on has a connection counted.
func (w *wire) on(cfg *pgx.ConnConfig) {
	cfg.AfterNetConnect = func(_ context.Context, _ *pgconn.Config, conn net.Conn) (net.Conn, error) {
		return &tap{Conn: conn, wire: w, prepared: map[string]*statement{}, portals: map[string]*statement{}, simple: map[string][]*statement{}}, nil
	}
}

// read returns what was sent so far.
func (w *wire) read() (sent, map[string]int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	lines := maps.Clone(w.lines)
	if lines == nil {
		lines = map[string]int64{}
	}
	return w.sent, lines
}

func (w *wire) executed(s *statement) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.ends {
		w.sent.ends++
	} else {
		w.sent.statements++
	}
	if w.lines == nil {
		w.lines = map[string]int64{}
	}
	w.lines[s.line]++
}

func (w *wire) asked() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent.trips++
}

// statement is what there is to know of one.
type statement struct {
	line string
	ends bool
}

func statementOf(sql string) *statement {
	s := &statement{}
	for line := range strings.Lines(sql) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "--") {
			s.line = named.ReplaceAllString(line, "") // the schema has another name each time
			break
		}
	}
	word, _, _ := strings.Cut(strings.ToLower(s.line), " ")
	switch strings.TrimSuffix(word, ";") {
	case "begin", "commit", "rollback":
		s.ends = !strings.HasPrefix(strings.ToLower(s.line), "rollback to")
	}
	return s
}

// tap is a connection that is counted. pgx writes from one goroutine at a time.
type tap struct {
	net.Conn
	wire     *wire
	buffer   []byte // of a message that is not complete
	begun    bool   // the first message, which has no type, is behind it
	prepared map[string]*statement
	portals  map[string]*statement
	simple   map[string][]*statement // by the texts of simple queries, up to simpleTexts
}

// simpleTexts is how many texts a connection remembers.
const simpleTexts = 1000

// Write sends p, and counts the messages that it completes.
func (t *tap) Write(p []byte) (int, error) {
	t.buffer = append(t.buffer, p...)
	rest := t.buffer
	for {
		head := 1
		if !t.begun {
			head = 0
		}
		if len(rest) < head+4 {
			break
		}
		end := head + int(binary.BigEndian.Uint32(rest[head:]))
		if len(rest) < end {
			break
		}
		if t.begun {
			t.message(rest[0], rest[5:end])
		}
		t.begun, rest = true, rest[end:]
	}
	t.buffer = append(t.buffer[:0], rest...)
	return t.Conn.Write(p)
}

// message counts one message of the frontend.
func (t *tap) message(kind byte, body []byte) {
	switch kind {
	case 'Q': // a query, of one or several statements
		text, _, _ := word(body)
		for _, s := range t.query(text) {
			t.wire.executed(s)
		}
		t.wire.asked()
	case 'P': // parse
		if name, rest, known := word(body); known {
			sql, _, _ := word(rest)
			t.prepared[string(name)] = statementOf(string(sql))
		}
	case 'B': // bind
		if portal, rest, known := word(body); known {
			name, _, _ := word(rest)
			if s := t.prepared[string(name)]; s != t.portals[string(portal)] {
				t.portals[string(portal)] = s
			}
		}
	case 'E': // execute
		if portal, _, known := word(body); known && t.portals[string(portal)] != nil {
			t.wire.executed(t.portals[string(portal)])
		}
	case 'S': // sync
		t.wire.asked()
	}
}

// query returns the statements of a simple query.
func (t *tap) query(text []byte) []*statement {
	all, known := t.simple[string(text)]
	if known {
		return all
	}
	for _, sql := range apart(string(text)) {
		all = append(all, statementOf(sql))
	}
	if len(t.simple) < simpleTexts {
		t.simple[string(text)] = all
	}
	return all
}

// word cuts a text that ends with a zero byte.
func word(body []byte) (text, rest []byte, known bool) { return bytes.Cut(body, []byte{0}) }

// apart separates the statements of a simple query, of which none has a semicolon inside.
func apart(text string) (all []string) {
	var code strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), "--") {
			code.WriteString(line)
		}
	}
	for sql := range strings.SplitSeq(code.String(), ";") {
		if strings.TrimSpace(sql) != "" {
			all = append(all, sql)
		}
	}
	return all
}
