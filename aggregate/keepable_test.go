package aggregate_test

import (
	"encoding/json"
	"math/big"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/aggregate"
	"github.com/rouse-es/rouse/eventstore"
)

// Embedded has an exported field, and is written with what embeds it.
type Embedded struct{ Number int }

type embedded struct{ Text string }

type tree struct {
	Name     string `json:"name"`
	Children []*tree
	Embedded
	embedded
	By    map[int]tree
	At    *time.Time
	Of    eventstore.ID
	Sum   big.Int
	Raw   json.RawMessage
	Bytes [4]byte
}

type hidden struct {
	Shown  int
	hidden int
}

type onlyWrites struct{ hidden int }

func (onlyWrites) MarshalJSON() ([]byte, error) { return []byte("1"), nil }

func TestStatesThatCannotBeKeptAreRefusedAtTheFirstCall(t *testing.T) {
	t.Parallel()
	for _, state := range []any{balance{}, tree{}, &tree{}, map[string]int{}, 1, "", []float64{}} {
		assert.NoError(t, aggregate.CheckState(reflect.TypeOf(state)), "%T", state)
	}
	for _, tc := range []struct {
		state any
		says  string
	}{
		{hidden{hidden: 1}, "aggregate_test.hidden.hidden is not exported"},
		{struct{ A []map[string]hidden }{}, ".A.hidden is not exported"},
		{onlyWrites{hidden: 1}, "is not exported"},
		{struct {
			A int `json:"-"`
		}{}, `.A has the tag json:"-"`},
		{struct{ A any }{}, ".A is an interface"},
		{struct{ A func() }{}, ".A is a func"},
		{struct{ A map[[2]int]string }{}, ".A has a map whose keys are of type [2]int"},
	} {
		err := aggregate.CheckState(reflect.TypeOf(tc.state))
		require.ErrorIs(t, err, aggregate.ErrOption)
		assert.ErrorContains(t, err, tc.says)
		assert.ErrorContains(t, err, "leave Snapshot out")
	}
	b := setup(t)
	_, _, err := aggregate.Load(b.ctx, b.Pool, account, func(h hidden, _ any) hidden { return h }, aggregate.Events(known), aggregate.Snapshot("hidden", 1))
	require.ErrorIs(t, err, aggregate.ErrOption, "also of a stream without events, so that the first test finds it")
	for _, option := range []aggregate.Option{aggregate.Snapshot("", 1), aggregate.Snapshot("balance", 0)} {
		_, _, err = aggregate.Load(b.ctx, b.Pool, account, fold, option)
		require.ErrorIs(t, err, aggregate.ErrOption)
	}
}
