// Package app makes a program of projections and effects: the same as the command rouse, with handlers of your own in it.
//
//	func main() {
//		app.Main(app.Config{Name: "shop", Projections: []rouse.Projection{orders}, Effects: []rouse.Effect{mails}})
//	}
//
// orders and mails are made by projection.New and projection.NewEffect of functions that take typed events, or are types of your own.
// The tables that they write are yours: Config.Migrations has the files that make them, and `shop migrate` applies these behind Rouse's.
//
// This program has the verbs worker, migrate, status, projection, parked, doctor, wait, tail, dashboard, append, prune, archive, erase
// and version, with their flags, variables and exit codes; `shop help` lists them. A worker takes its name and its share from
// WORKER_ID and TOTAL_WORKERS, serves probes, metrics and the dashboard with --http, and stops in order at SIGTERM. Config.WorkerVerb
// gives the verb worker another name.
//
// [Main] is the whole program. [Cobra] is the same as a command of cobra, for a program that has others beside it. [Run] is for a
// program without verbs, which wants a pool, logs, signals and exit codes.
//
// The packages of Rouse may be used without this one: a [rouse.Worker] runs in any program.
package app
