package doctor

import _ "embed" // the statements

var (
	//go:embed sql/server.sql
	sqlServer string
	//go:embed sql/source.sql
	sqlSource string
	//go:embed sql/connections.sql
	sqlConnections string
	//go:embed sql/idle.sql
	sqlIdle string
	//go:embed sql/schemas.sql
	sqlSchemas string
	//go:embed sql/trigger.sql
	sqlTrigger string
	//go:embed sql/sequence.sql
	sqlSequence string
	//go:embed sql/checkpoints.sql
	sqlCheckpoints string
	//go:embed sql/avoids.sql
	sqlAvoids string
	//go:embed sql/role.sql
	sqlRole string
	//go:embed sql/access.sql
	sqlAccess string
	//go:embed sql/definer.sql
	sqlDefiner string
	//go:embed sql/row_security.sql
	sqlRowSecurity string
	//go:embed sql/pushes.sql
	sqlPushes string
	//go:embed sql/strangers.sql
	sqlStrangers string
	//go:embed sql/engine.sql
	sqlEngine string
	//go:embed sql/append.sql
	sqlAppend string
	//go:embed sql/held.sql
	sqlHeld string
)
