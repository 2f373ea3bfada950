package bench

import (
	"slices"
	"time"
)

// median is the middle value, or the mean of the two in the middle. There must be one at least.
func median[T any](of []T, value func(T) float64) float64 {
	var vs []float64
	for _, o := range of {
		vs = append(vs, value(o))
	}
	slices.Sort(vs)
	return (vs[(len(vs)-1)/2] + vs[len(vs)/2]) / 2
}

// Percentiles are of one set of durations, in milliseconds.
type Percentiles struct {
	P50 float64 `json:"p50_ms"`
	P90 float64 `json:"p90_ms"`
	P99 float64 `json:"p99_ms"`
}

// percentilesOf takes the nearest rank. There must be one duration at least.
func percentilesOf(of []time.Duration) Percentiles {
	sorted := slices.Sorted(slices.Values(of))
	at := func(p int) float64 {
		return float64(sorted[(len(sorted)-1)*p/100].Microseconds()) / 1000
	}
	return Percentiles{P50: at(50), P90: at(90), P99: at(99)}
}

// perSecond is a rate.
func perSecond(n int64, took time.Duration) float64 { return float64(n) / max(took.Seconds(), 1e-6) }
