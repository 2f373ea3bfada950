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
)
