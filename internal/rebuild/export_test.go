package rebuild

// SetProven has f called in each swap, behind the proof and before anything moves. Tests that use it run alone.
func SetProven(f func()) { proven = f }
