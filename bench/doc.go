// Command bench measures what the push costs writers and how soon an event is handled, each beside a floor of the same run.
//
// Writers are pgbench, a program that knows nothing of Rouse. Rounds of the variants are interleaved, and what is printed
// are medians, so that a machine whose speed drifts does not favour one of them. The numbers are ratios to read; the
// absolute ones are this machine's.
//
//	go run ./bench                      everything, about six minutes
//	go run ./bench -only latency        one part: append or latency
//	go run ./bench -seconds 10 -rounds 5
package main
