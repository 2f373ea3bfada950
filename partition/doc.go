// Package partition says who handles which part of a projection.
//
// A projection is cut into partitions, a power of two of them; an event belongs to the one that its slot falls into, so an
// aggregate is always in the same partition. At any time a partition has at most one owner, named in its checkpoint row,
// and an epoch that rises each time it changes hands. A save tests both, which is the fence: whoever lost a partition
// without knowing it cannot commit. Presence locks and heartbeats only make the change of hands fast.
//
// The number of partitions can be changed while workers run (Resize). Splitting copies a checkpoint to each part. Joining needs
// equal checkpoints, so owners are held at a barrier: the highest checkpoint that any of them has reached, up to which everything
// is settled. The barrier is a matter of speed only. What makes a change safe is that it looks at the checkpoints under the locks
// of all of them, raises all epochs in the same transaction, and that a claim tests the number of partitions it is for.
//
// Static workers own the partitions p with p mod TOTAL_WORKERS = WORKER_ID. A process that starts takes them from whoever
// has them, so a restarted worker goes on at once; a twin that was started by mistake loses them, stands by, and takes over
// when the other is gone. A worker without TOTAL_WORKERS takes all of them in the same way.
package partition
