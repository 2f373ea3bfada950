// Package knownbad holds faults that the product must not have, so that the tests can show that they would notice them.
//
// In an ordinary build every fault is a constant that is false, and the compiler leaves nothing of the places that ask for it.
// In a build with the tag rousefault the environment variable ROUSE_KNOWN_BAD turns on one fault by its name. Nothing in the
// product may depend on this package in any other way.
package knownbad
