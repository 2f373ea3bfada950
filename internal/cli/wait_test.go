package cli

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rouse-es/rouse/internal/testdb"
)

func TestWaitTakesAPositionOrTheHead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"head": -1, "0": 0, "17": 17} {
		at, err := parseWaited(text)
		assert.NoError(t, err, text)
		assert.Equal(t, want, at, text)
	}
	for _, text := range []string{"", "-1", "end", "1.5", "99999999999999999999"} {
		_, err := parseWaited(text)
		assert.Error(t, err, text)
	}
}

func TestWaitingAndVerbsOnARetiredNameSayWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	mustRouse(t, db, "projection", "create", "orders", "--from", "now")
	mustRouse(t, db, "projection", "rename", "orders", "sales")
	mustRouse(t, db, "projection", "create", "mails", "--from", "now")
	mustRouse(t, db, "projection", "drop", "mails")
	for name, says := range map[string]string{"orders": "orders is called sales since 20", "mails": "mails was dropped at 20"} {
		requireFault(t, runRouse(t, on(db), "wait", name), exitUsage, "(rouse projection list has those that there are): "+says)
		requireFault(t, runRouse(t, on(db), "projection", "pause", name), exitUsage, "there is no such projection: "+says)
	}
}
