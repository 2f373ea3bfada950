//go:build rousefault

package demo

// skipped leaves out every thousandth event, so that a test sees the verdict find them missing.
func skipped(position int64) bool { return position%1000 == 0 }
