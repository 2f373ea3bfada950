package report

// Build is how far a read model is that is built beside the one of a projection, by a rebuild or in another version.
type Build struct {
	Of   string `json:"of"`
	From int64  `json:"from"` // behind which position it began
	At   int64  `json:"at"`   // up to where everything is handled

	// Percent is how much of what there was between From and the end of the log is done.
	Percent int `json:"percent"`

	// EventsPerSecond is how many positions it has come on, on average, since a worker has made its tables, and SecondsLeft how long the
	// rest takes at that rate; 0: that is not known, or there is no rest.
	EventsPerSecond float64 `json:"events_per_second"`
	SecondsLeft     float64 `json:"seconds_left"`

	// Trouble is what keeps it from being built, or from taking the place of the one that is live.
	Trouble string `json:"trouble,omitempty"`

	seconds *float64 // since its tables were made
}

// setBuild works out how far what is built is, from its partitions and the head.
func (p *Projection) setBuild(head int64) {
	b := p.Build
	if b == nil || len(p.Partitions) == 0 {
		return
	}
	b.At = p.Partitions[0].Checkpoint
	for _, part := range p.Partitions {
		b.At = min(b.At, part.Checkpoint)
	}
	if p.LagEvents == 0 {
		b.At = max(b.At, head) // partitions without events are behind
	}
	b.Percent = 100
	if head > b.From {
		b.Percent = int(100 * (b.At - b.From) / (head - b.From))
	}
	if b.seconds != nil && *b.seconds > 0 && b.Percent < 100 {
		b.EventsPerSecond = float64(b.At-b.From) / *b.seconds
	}
	if b.EventsPerSecond > 0 {
		b.SecondsLeft = float64(head-b.At) / b.EventsPerSecond
	}
}
