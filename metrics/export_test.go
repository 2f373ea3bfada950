package metrics

import "github.com/prometheus/client_golang/prometheus"

// Describe is all that is registered.
func Describe(m *Metrics) []*prometheus.Desc {
	to := make(chan *prometheus.Desc)
	go func() { defer close(to); m.registry.Describe(to) }()
	var descs []*prometheus.Desc
	for d := range to {
		descs = append(descs, d)
	}
	return descs
}
