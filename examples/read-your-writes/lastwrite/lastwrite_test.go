package lastwrite

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rouse-es/rouse/eventstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestALastWriteIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	for _, a := range []eventstore.Appended{{Slot: 0, Positions: []int64{1}}, {Slot: 1023, Positions: []int64{5, 9, 1 << 60}}} {
		got, err := Decode(Encode(a))
		require.NoError(t, err)
		require.Equal(t, a, got)
	}
	for _, text := range []string{"", "1", "1024.1", "-1.1", "1.0", "1.2.1", "1.zzzzzzzzzzzzzzzz", "a.1", "1..2"} {
		_, err := Decode(text)
		require.Error(t, err, text)
	}
}
