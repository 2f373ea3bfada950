package bench

import (
	"slices"
	"time"
)

// Median is the middle value, or the mean of the two in the middle. There must be one at least.
func Median[T any](of []T, value func(T) float64) float64 {
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

// PercentilesOf takes the nearest rank. There must be one duration at least.
func PercentilesOf(of []time.Duration) Percentiles {
	sorted := slices.Sorted(slices.Values(of))
	at := func(p int) float64 {
		return float64(sorted[(len(sorted)-1)*p/100].Microseconds()) / 1000
	}
	return Percentiles{P50: at(50), P90: at(90), P99: at(99)}
}

// Ratio has percentiles divided by those of a floor.
type Ratio struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
}

// Over divides.
func (p Percentiles) Over(floor Percentiles) Ratio {
	return Ratio{P50: p.P50 / floor.P50, P90: p.P90 / floor.P90, P99: p.P99 / floor.P99}
}

// PerSecond is a rate.
func PerSecond(n int64, took time.Duration) float64 { return float64(n) / max(took.Seconds(), 1e-6) }
