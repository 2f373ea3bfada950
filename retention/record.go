package retention

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// record is one event as a line of an archive has it: every column of events but slot, which is computed.
type record struct {
	Position  int64  `json:"global_position"`
	ID        string `json:"event_id"`
	AggType   string `json:"aggregate_type"`
	AggID     string `json:"aggregate_id"`
	Version   int64  `json:"aggregate_version"`
	Type      string `json:"event_type"`
	TypeVer   int    `json:"event_version"`
	CreatedAt string `json:"created_at"` // UTC, in microseconds

	// The texts as they are in the table, whose type keeps them byte for byte. One that would not survive on a line of its own, because it
	// has a line break or begins or ends with a blank, stands as a string in the second field.
	Payload      json.RawMessage `json:"payload,omitempty"`
	PayloadText  *string         `json:"payload_text,omitempty"`
	Metadata     json.RawMessage `json:"metadata,omitempty"`
	MetadataText *string         `json:"metadata_text,omitempty"`
}

// into returns what the columns of columns.sql are scanned into, and a function that completes r then.
func (r *record) into() (targets []any, complete func()) {
	var payload, metadata string
	targets = []any{&r.Position, &r.ID, &r.AggType, &r.AggID, &r.Version, &r.Type, &r.TypeVer, &r.CreatedAt, &payload, &metadata}
	return targets, func() { r.setTexts(payload, metadata) }
}

func (r *record) setTexts(payload, metadata string) {
	r.Payload, r.PayloadText = fit(payload)
	r.Metadata, r.MetadataText = fit(metadata)
}

// fit returns a JSON text as it is where it may stand in a line, and else as a string.
func fit(text string) (raw json.RawMessage, quoted *string) {
	if strings.ContainsAny(text, "\r\n") || strings.TrimSpace(text) != text {
		return nil, &text
	}
	return json.RawMessage(text), nil
}

func textOf(raw json.RawMessage, quoted *string) string {
	if quoted != nil {
		return *quoted
	}
	return string(raw)
}

func (r *record) payload() string  { return textOf(r.Payload, r.PayloadText) }
func (r *record) metadata() string { return textOf(r.Metadata, r.MetadataText) }

// stream is the name of the stream by which filters and erasures know it.
func (r *record) stream() [sha256.Size]byte { return streamHash(r.AggType, r.AggID) }

// streamHash hashes a stream. The length of the type keeps ("a", "bc") and ("ab", "c") apart.
func streamHash(aggType, aggID string) [sha256.Size]byte {
	return sha256.Sum256([]byte(fmt.Sprintf("%d/%s/%s", len(aggType), aggType, aggID)))
}

// line returns r as a line with its end. encoding/json would rewrite the texts, so they are put in by hand.
func (r *record) line() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"global_position":%d,"event_id":%s,"aggregate_type":%s,"aggregate_id":%s,"aggregate_version":%d,"event_type":%s,"event_version":%d,"created_at":%s`,
		r.Position, quote(r.ID), quote(r.AggType), quote(r.AggID), r.Version, quote(r.Type), r.TypeVer, quote(r.CreatedAt))
	put := func(name string, raw json.RawMessage, quoted *string) {
		if quoted != nil {
			fmt.Fprintf(&b, `,"%s_text":%s`, name, quote(*quoted))
			return
		}
		fmt.Fprintf(&b, `,"%s":`, name)
		b.Write(raw)
	}
	put("payload", r.Payload, r.PayloadText)
	put("metadata", r.Metadata, r.MetadataText)
	b.WriteString("}\n")
	return b.Bytes()
}

func quote(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string can always be encoded
	return bytes.TrimRight(b.Bytes(), "\n")
}

// parse reads a line.
func parse(line []byte) (*record, error) {
	r := &record{}
	if err := json.Unmarshal(line, r); err != nil {
		return nil, fmt.Errorf("%w: a line is not readable: %w", ErrFile, err)
	}
	return r, nil
}

// records calls each with every row of a query for the columns of a record, one after the other.
func records(rows pgx.Rows, each func(r *record) error) error {
	defer rows.Close()
	for rows.Next() {
		r := &record{}
		targets, complete := r.into()
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		complete()
		if err := each(r); err != nil {
			return err
		}
	}
	return rows.Err()
}
