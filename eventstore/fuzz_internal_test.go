package eventstore

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Decoding by hand gives every value as it was sent, whatever it is, and a time that JSON can hold. A value of another length
// than its type has is an error, never a panic or a wrong event.
func FuzzDecode(f *testing.F) {
	id := []byte("0123456789abcdef")
	f.Add(int64(1), id, "order", "4711", int64(1), "OrderPlaced", int32(1), []byte("{}"), []byte("{}"), int16(1023), int64(0), uint8(0), uint8(0))
	f.Add(int64(math.MaxInt64), id, "", "", int64(-1), "", int32(math.MinInt32), []byte(nil), []byte("x"), int16(-1), int64(math.MaxInt64), uint8(4), uint8(3))
	f.Add(int64(-1), id, "a", "b", int64(0), "c", int32(0), []byte("[]"), []byte{}, int16(0), int64(math.MinInt64), uint8(1), uint8(15))
	f.Add(int64(7), id, "a", "b", int64(0), "c", int32(0), []byte("[]"), []byte{}, int16(0), int64(math.MinInt64+1), uint8(9), uint8(1))
	f.Fuzz(func(t *testing.T, position int64, id []byte, aggregateType, aggregateID string, version int64, eventType string,
		schema int32, payload, metadata []byte, slot int16, micros int64, cut, to uint8) {
		raw := make([][]byte, columnCount)
		raw[colPosition] = binary.BigEndian.AppendUint64(nil, uint64(position))
		raw[colID] = id
		raw[colAggregateType], raw[colAggregateID], raw[colType] = []byte(aggregateType), []byte(aggregateID), []byte(eventType)
		raw[colAggregateVersion] = binary.BigEndian.AppendUint64(nil, uint64(version))
		raw[colVersion] = binary.BigEndian.AppendUint32(nil, uint32(schema))
		raw[colPayload], raw[colMetadata] = payload, metadata
		raw[colSlot] = binary.BigEndian.AppendUint16(nil, uint16(slot))
		raw[colCreatedAt] = binary.BigEndian.AppendUint64(nil, uint64(micros))

		ev, err := decode(raw)
		if len(id) != len(ID{}) {
			require.ErrorIs(t, err, errColumns)
			return
		}
		require.NoError(t, err)
		require.Equal(t, position, ev.GlobalPosition)
		require.Equal(t, ID(id), ev.ID)
		require.Equal(t, []string{aggregateType, aggregateID, eventType}, []string{ev.AggregateType, ev.AggregateID, ev.Type})
		require.Equal(t, version, ev.AggregateVersion)
		require.EqualValues(t, schema, ev.Version)
		require.Equal(t, slot, ev.Slot)
		require.Equal(t, string(payload), string(ev.Payload))
		require.Equal(t, string(metadata), string(ev.Metadata))
		_ = append(ev.Payload, "more"...)
		require.Equal(t, string(metadata), string(ev.Metadata), "what grows one must not reach the other")
		_, err = json.Marshal(ev.CreatedAt)
		require.NoError(t, err)
		if at := time.Unix(epochSeconds, 0).Add(time.Duration(micros) * time.Microsecond); micros > -1e15 && micros < 1e15 {
			require.True(t, at.Equal(ev.CreatedAt), "%s is not %s", ev.CreatedAt, at)
		}

		column := int(cut) % columnCount
		if short := int(to); short < len(raw[column]) {
			raw[column] = raw[column][:short]
			_, err = decode(raw)
			switch column {
			case colAggregateType, colAggregateID, colType, colPayload, colMetadata: // of any length
				require.NoError(t, err)
			default:
				require.ErrorIs(t, err, errColumns)
			}
		}
	})
}
