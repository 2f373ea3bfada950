package testdb

import (
	"testing"
	"time"
)

// Eventually polls cond until it is true, and fails the test if it is not within
// the given time. what completes the sentence "in vain waited for ...". An error
// of cond counts as "not yet" and is reported with the failure, since what is
// waited for may be the end of errors. Call it from the test's own goroutine.
func Eventually(t testing.TB, within time.Duration, what string, cond func() (bool, error)) {
	t.Helper()
	deadline := time.Now().Add(within)
	pause := time.Millisecond
	for {
		ok, err := cond()
		if ok && err == nil {
			return
		}
		left := time.Until(deadline)
		if left <= 0 {
			if err != nil {
				t.Fatalf("waited %v in vain for %s: %v", within, what, err)
			}
			t.Fatalf("waited %v in vain for %s", within, what)
		}
		<-time.After(min(pause, left))
		pause = min(2*pause, 50*time.Millisecond)
	}
}
