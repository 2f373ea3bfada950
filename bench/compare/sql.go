package compare

import (
	_ "embed" // the statements
)

var (
	//go:embed sql/counts.sql
	sqlCounts string
	//go:embed sql/count.sql
	sqlCount string
	//go:embed sql/count_one.sql
	sqlCountOne string

	//go:embed sql/rouse_append.sql
	sqlRouseAppend string

	//go:embed sql/naive_create.sql
	sqlNaiveCreate string
	//go:embed sql/naive_append.sql
	sqlNaiveAppend string
	//go:embed sql/naive_fill.sql
	sqlNaiveFill string

	//go:embed sql/river_rewind.sql
	sqlRiverRewind string

	//go:embed sql/watermill_append.sql
	sqlWatermillAppend string
	//go:embed sql/watermill_fill.sql
	sqlWatermillFill string
)
