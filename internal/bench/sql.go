package bench

import (
	_ "embed" // the statements
)

var (
	//go:embed sql/create.sql
	sqlCreate string
	//go:embed sql/settings.sql
	sqlSettings string
	//go:embed sql/count.sql
	sqlCount string
	//go:embed sql/count_one.sql
	sqlCountOne string
	//go:embed sql/reached.sql
	sqlReached string

	//go:embed sql/begin_at_end.sql
	sqlBeginAtEnd string

	//go:embed sql/notify_always.sql
	sqlNotifyAlways string
	//go:embed sql/append.pgbench
	appendScript []byte
	//go:embed sql/append_plain.pgbench
	appendPlainScript []byte
	//go:embed sql/append_event.sql
	sqlAppendEvent string
	//go:embed sql/append_waited.sql
	sqlAppendWaited string

	//go:embed sql/floor_log.sql
	sqlFloorLog string
	//go:embed sql/fill_floor.sql
	sqlFillFloor string
	//go:embed sql/append_floor.sql
	sqlAppendFloor string
	//go:embed sql/read_floor.sql
	sqlReadFloor string

	//go:embed sql/plain_log.sql
	sqlPlainLog string
	//go:embed sql/append_plain.sql
	sqlAppendPlain string
	//go:embed sql/read_plain.sql
	sqlReadPlain string

	//go:embed sql/uniques.sql
	sqlUniques string
	//go:embed sql/fill.sql
	sqlFill string
	//go:embed sql/fill_payload.sql
	sqlFillPayload string
	//go:embed sql/read_raw.sql
	sqlReadRaw string
	//go:embed sql/read_hand.sql
	sqlReadHand string
)
