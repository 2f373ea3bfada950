package catchup

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzReadEvents: whatever a push carries under the right seal is read as so many events that fill it, or not at all.
func FuzzReadEvents(f *testing.F) {
	var one [fixedLength]byte
	one[7], one[31], one[35] = 1, 1, 1     // position, version of the aggregate, version of the event
	copy(one[46:], []byte{0, 0, 0, 1})     // the length of the first text
	copy(one[46+4*3:], []byte{0, 0, 0, 2}) // of the payload
	copy(one[46+4*4:], []byte{0, 0, 0, 2}) // of the metadata
	event := append(hex.AppendEncode(nil, one[:]), "t{}{}"...)
	f.Add(event, 1)
	f.Add(append(bytes.Clone(event), event...), 2)
	f.Add(event[:len(event)-1], 1)
	f.Add([]byte{}, 0)
	f.Fuzz(func(t *testing.T, body []byte, count int) {
		if count > 64 {
			return
		}
		events, err := readEvents(body, count)
		if err != nil {
			return
		}
		require.Len(t, events, count)
		length := 0
		for _, ev := range events {
			length += 2*fixedLength + len(ev.AggregateType) + len(ev.AggregateID) + len(ev.Type) + len(ev.Payload) + len(ev.Metadata)
		}
		require.Equal(t, len(body), length)
	})
}
