package eventstore_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
)

func TestNewID(t *testing.T) {
	t.Parallel()
	t.Run("is a UUID of version 7", func(t *testing.T) {
		t.Parallel()
		s := eventstore.NewID().String()
		require.Len(t, s, 36)
		assert.Equal(t, byte('7'), s[14])
		assert.Contains(t, "89ab", s[19:20])
	})
	t.Run("begins with the time, to less than a microsecond", func(t *testing.T) {
		t.Parallel()
		before := time.Now()
		id := eventstore.NewID()
		after := time.Now()
		var ms int64
		for _, b := range id[:6] {
			ms = ms<<8 | int64(b)
		}
		assert.GreaterOrEqual(t, ms, before.UnixMilli())
		assert.LessOrEqual(t, ms, after.UnixMilli())
		ns := (int64(id[6]&0x0f)<<8 | int64(id[7])) * 1e6 / 4096
		got := time.UnixMilli(ms).Add(time.Duration(ns))
		assert.WithinRange(t, got, before.Add(-time.Microsecond), after.Add(time.Microsecond))
	})
	t.Run("differs every time", func(t *testing.T) {
		t.Parallel()
		seen := make(map[eventstore.ID]bool)
		for range 10_000 {
			id := eventstore.NewID()
			require.False(t, seen[id])
			seen[id] = true
		}
	})
}

func TestID(t *testing.T) {
	t.Parallel()
	const text = "0198c1f2-6b1e-7a40-9c55-2f8e6d1b7a03"
	id, err := eventstore.ParseID(text)
	require.NoError(t, err)

	t.Run("reads what it writes", func(t *testing.T) {
		t.Parallel()
		assert.Equal(t, text, id.String())
		upper, err := eventstore.ParseID(strings.ToUpper(text))
		require.NoError(t, err)
		assert.Equal(t, id, upper)
		raw, err := json.Marshal(id)
		require.NoError(t, err)
		assert.Equal(t, `"`+text+`"`, string(raw))
		var back eventstore.ID
		require.NoError(t, json.Unmarshal(raw, &back))
		assert.Equal(t, id, back)
	})
	t.Run("refuses what is no UUID and keeps its value", func(t *testing.T) {
		t.Parallel()
		for _, s := range []string{"", "x", text[:35], text + "0", strings.Replace(text, "-", "0", 1),
			strings.Replace(text, "a", "g", 1), strings.Replace(text, "0", "-", 1), "{" + text[1:35] + "}"} {
			_, err := eventstore.ParseID(s)
			assert.ErrorContains(t, err, "want a UUID", "%q", s)
			kept := id
			assert.Error(t, kept.UnmarshalText([]byte(s)), "%q", s)
			assert.Equal(t, id, kept)
		}
	})
	t.Run("knows the zero ID", func(t *testing.T) {
		t.Parallel()
		assert.True(t, eventstore.ID{}.IsZero())
		assert.False(t, id.IsZero())
	})
	t.Run("scans what drivers return", func(t *testing.T) {
		t.Parallel()
		for _, src := range []any{text, []byte(text), id[:], [16]byte(id)} {
			var got eventstore.ID
			require.NoError(t, got.Scan(src))
			assert.Equal(t, id, got)
		}
		got := id
		require.NoError(t, got.Scan(nil))
		assert.True(t, got.IsZero())
		assert.ErrorContains(t, got.Scan(int64(7)), "select the uuid column")
	})
}

func TestID_IsAnArgumentAndAResultInEveryMode(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := eventstore.NewID()
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			var got, null eventstore.ID
			var same bool
			err := b.pool(t, mode).QueryRow(b.ctx, `select $1::uuid, $2::uuid, $1::uuid::text = $3::text`,
				id, eventstore.ID{}, id.String()).Scan(&got, &null, &same)
			require.NoError(t, err)
			assert.Equal(t, id, got)
			assert.True(t, null.IsZero())
			assert.True(t, same)
		})
	}
}
