// Package rousetest is for tests of programs that use Rouse: a migrated database for each test in milliseconds, events without
// ceremony, given / when / then for projections, a worker in process, and time that passes when the test says so.
//
//	func TestOrders(t *testing.T) {
//		db := rousetest.New(t, rousetest.Config{Migrations: shop.Migrations})
//		placed := rousetest.Stream("order", "1").Add(OrderPlaced{Cents: 1250}).Events()
//
//		rousetest.Given(t, db, shop.Orders).When(placed...).
//			Then("select id, cents from orders", rousetest.Row{"1", 1250})
//	}
//
// # Which database
//
// Each test has a database of its own, on one server for all tests of the process: the one of TEST_DATABASE_URL, on which the role
// may create databases; without it a private server, started from the PostgreSQL that is on the machine, which ends with the process;
// where none can be started, that of DATABASE_URL. The database that the address names is not touched. Databases are copies of a
// template that was migrated once, made while other tests run. There is nothing to set up and nothing to clean up; a program whose
// tests look for goroutines that are left calls Stop before it looks.
//
// # How to test what
//
// Given runs the handler of a projection alone, in a transaction that is rolled back: nothing else is needed to test what
// it writes, and nothing is left. Replay shows that a read model can be built anew. DB.Drain runs a worker until everything is
// handled, with retries and what was set aside; DB.Advance lets time pass for these. DB.Worker runs a worker beside the test.
//
// The package is for tests alone: it imports testing, and no other test library.
package rousetest
