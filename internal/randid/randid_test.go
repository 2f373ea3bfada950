package randid_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rouse-es/rouse/internal/randid"
)

func TestUUIDBeginsWithTheTimeAndIsNewEachTime(t *testing.T) {
	t.Parallel()
	before := time.Now().UnixMilli()
	first, second := randid.UUID(), randid.UUID()
	after := time.Now().UnixMilli()
	require.NotEqual(t, first, second)
	made := int64(binary.BigEndian.Uint64(append([]byte{0, 0}, first[:6]...)))
	require.GreaterOrEqual(t, made, before)
	require.LessOrEqual(t, made, after)
	require.EqualValues(t, 7, first[6]>>4, "version")
	require.EqualValues(t, 2, first[8]>>6, "variant")
}

func TestKeyIsAboveZero(t *testing.T) {
	t.Parallel()
	seen := map[int32]bool{}
	for range 10_000 {
		key := randid.Key()
		require.Positive(t, key)
		seen[key] = true
	}
	require.Greater(t, len(seen), 9_990)
}

func TestHexHasTwoDigitsForEachByte(t *testing.T) {
	t.Parallel()
	require.Regexp(t, "^[0-9a-f]{12}$", randid.Hex(6))
	require.NotEqual(t, randid.Hex(6), randid.Hex(6))
	require.Len(t, randid.Bytes(9), 9)
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
