package parked_test

import (
	"testing"

	"github.com/rouse-es/rouse/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }
