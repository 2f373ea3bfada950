package rouse

// OnReading calls f before every read of the end of the log, on the goroutine that reads. Call it before Run.
func (w *Worker) OnReading(f func()) { w.reading = f }
