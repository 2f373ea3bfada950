package pgserver

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken from below the range that systems use for outgoing
// connections (32768 up on Linux, 49152 up elsewhere): while the server is down
// between Crash and Restart nobody's outgoing connection can sit on its port,
// not even that of a client which keeps trying to connect to it.
const (
	lowestPort  = 15000
	highestPort = 32000
)

// FreePort finds a port on 127.0.0.1 that nobody listens on. Another process may
// take it before the caller does.
func FreePort() (int, error) {
	for range 200 {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		if portIsFree(port) {
			return port, nil
		}
	}
	return 0, errors.New("pgserver: no free port on 127.0.0.1; name one in Config.Port")
}

func portIsFree(port int) bool {
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
