package apply

// AllHung returns each HungError that err wraps. Several lanes may hang at once, beside one that has stopped the projection.
func AllHung(err error) []*HungError {
	switch err := err.(type) { //nolint:errorlint // it walks the tree itself
	case *HungError:
		return []*HungError{err}
	case interface{ Unwrap() error }:
		return AllHung(err.Unwrap())
	case interface{ Unwrap() []error }:
		var all []*HungError
		for _, one := range err.Unwrap() {
			all = append(all, AllHung(one)...)
		}
		return all
	}
	return nil
}
