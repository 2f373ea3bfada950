package rouse

// Keys of log fields; units are in the name.
const (
	keyProjection    = "projection"
	keyPosition      = "position"
	keyAggregateType = "aggregate_type"
	keyAggregateID   = "aggregate_id"
	keyEvents        = "events"
	keyPartitions    = "partitions"
	keyState         = "state"
	keyTookMS        = "took_ms"
	keyWorker        = "worker"
	keyInstance      = "instance"
)
