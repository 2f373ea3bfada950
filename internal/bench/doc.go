// Package bench measures what Rouse costs, each time beside a floor of the same run: what the push costs those who append
// (Append), how soon an event is handled (Latency), and how fast a history is worked through (Catchup).
//
// A benchmark works in a schema of its own and drops it at the end. Rounds of what is compared take turns, and what is
// reported are medians, of ratios the medians of round-wise ratios, so that a machine whose speed drifts does not favour one
// side. The ratios are what to read; the absolute numbers are the machine's.
//
// Every benchmark checks in the database that the events were really handled, on both sides, and fails otherwise.
package bench
