//go:build !rousefault

package demo

// skipped tells whether the projection leaves an event out. It never does; a build with the tag rousefault has another
// version of this function, by which the tests prove that the verdict finds what is missing.
func skipped(int64) bool { return false }
