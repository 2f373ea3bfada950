// Package scratch gives tests databases of their own: copies of a template, on a server that is named or that this process starts.
//
// A test has a database and not a schema, because notifications and advisory locks are of a database: a schema would be woken by
// the appends of the others. A schema would also have to be migrated each time, which takes longer than to copy.
//
// While tests run, two copies are made ahead, so that a test waits for a connection and not for a copy. What a process leaves on a
// server that was named, because it was killed or nobody called Stop, is removed by the next process that uses the server: the
// names of its databases have a token, and it holds a lock for that token as long as it lives.
package scratch
