package rouse_test

import (
	"fmt"
	"time"

	"github.com/rouse-es/rouse"
)

// Where a projection or effect begins, in Config.StartFrom or in its method StartFrom. It counts once, when its checkpoints are made.
func ExampleStart() {
	for _, start := range []rouse.Start{
		rouse.Beginning,      // all that was ever appended
		rouse.Now,            // what is appended from now on
		rouse.Position(4711), // what stands behind a position
		rouse.Time(time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)), // since a time, by the times of the events
	} {
		fmt.Println(start)
	}
	// Output:
	// beginning
	// now
	// 4711
	// 2026-03-01T00:00:00Z
}
