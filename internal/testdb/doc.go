// Package testdb gives every test a PostgreSQL database of its own.
//
// The server is the one of TEST_DATABASE_URL, the URL of a maintenance database
// for a role that may create databases; without it each test binary starts a
// private server at its first use of one (see internal/scratch). There is no
// way to skip: without a database tests fail.
//
// A test that breaks a server has one of its own, from Server, or in a container
// from the package test/containers, in any version that there is an image of.
// Machine is what both can do.
//
// A database is a copy of a template that holds the current schema. A schema in
// a shared database would not do, because notifications are per database.
//
// A package that uses testdb has
//
//	func TestMain(m *testing.M) { testdb.Main(m) }
//
// which also proves that no goroutine is left behind.
package testdb
