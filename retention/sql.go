package retention

import _ "embed" // the statements

var (
	//go:embed sql/columns.sql
	sqlColumns string
	//go:embed sql/holders.sql
	sqlHolders string
	//go:embed sql/cutoff.sql
	sqlCutoff string
	//go:embed sql/plan.sql
	sqlPlan string
	//go:embed sql/read.sql
	sqlRead string
	//go:embed sql/remove.sql
	sqlRemove string
	//go:embed sql/lock.sql
	sqlLock string
	//go:embed sql/lock_archive.sql
	sqlLockArchive string
	//go:embed sql/fence_ignored.sql
	sqlFenceIgnored string
	//go:embed sql/left.sql
	sqlLeft string
	//go:embed sql/removed.sql
	sqlRemoved string
	//go:embed sql/register.sql
	sqlRegister string
	//go:embed sql/archives.sql
	sqlArchives string
	//go:embed sql/filters.sql
	sqlFilters string
	//go:embed sql/superseded.sql
	sqlSuperseded string
	//go:embed sql/ignored.sql
	sqlIgnored string
	//go:embed sql/erasures.sql
	sqlErasures string
	//go:embed sql/restore.sql
	sqlRestore string
	//go:embed sql/stand.sql
	sqlStand string
)
