package catchup

import _ "embed" // the statements

var (
	//go:embed sql/open.sql
	sqlOpen string
	//go:embed sql/token_insert.sql
	sqlTokenInsert string
	//go:embed sql/head.sql
	sqlHead string
	//go:embed sql/low_water.sql
	sqlLowWater string
	//go:embed sql/read.sql
	sqlRead string
	//go:embed sql/peek.sql
	sqlPeek string
	//go:embed sql/glance.sql
	sqlGlance string
	//go:embed sql/read_slots.sql
	sqlReadSlots string
	//go:embed sql/read_types.sql
	sqlReadTypes string
	//go:embed sql/next.sql
	sqlNext string
	//go:embed sql/last_visible.sql
	sqlLastVisible string
	//go:embed sql/save.sql
	sqlSave string
	//go:embed sql/save_one.sql
	sqlSaveOne string
)
