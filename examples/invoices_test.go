//go:build unix

package examples_test

import (
	"regexp"
	"strings"

	"github.com/stretchr/testify/require"
)

func init() {
	promises = append(promises, promise{"InvoicesRemindsOnceOfWhatIsOpenAtItsTime", testInvoices})
}

func testInvoices(s *scene) {
	for range 2 {
		number := regexp.MustCompile(`\d{13}-`)
		lines := strings.Split(strings.TrimSpace(number.ReplaceAllString(s.run("invoices"), "N-")), "\n")
		require.ElementsMatch(s, []string{"InvoiceIssued: invoice N-a", "InvoiceIssued: invoice N-b", "InvoicePaid: invoice N-b",
			"invoice N-a: 1 reminders sent", "invoice N-b: 0 reminders sent", "mail: invoice N-a is still open"}, lines)
	}
	require.Equal(s, 2, s.int("select count(*) from events where event_type = 'ReminderSent'"))
	require.Zero(s, s.int("select count(*) from parked_events"))
}
