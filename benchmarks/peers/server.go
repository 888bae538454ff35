// The peer from another language that makes the same promise, blocking code for every connection, cheap: Go's net
// package and one goroutine a connection. It reads into a buffer of its own, not through bufio: fewer allocations.
// GOMAXPROCS is left to the runtime, which counts the cores that the process may run on (here one).
package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
)

const queryLimit = 512

var users = map[string]string{"moshez": "Happy and well"}

func answer(user []byte) []byte {
	status, known := users[string(user)]
	if !known {
		status = "No such user"
	}
	return []byte(status + "\r\n")
}

func handle(conn net.Conn) {
	defer conn.Close()
	var query [queryLimit]byte
	have := 0
	for have < len(query) {
		got, err := conn.Read(query[have:])
		have += got
		if end := bytes.Index(query[:have], []byte("\r\n")); end >= 0 {
			conn.Write(answer(query[:end]))
			return
		}
		if err != nil {
			return
		}
	}
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintf(os.Stderr, "{\"event\": \"listening\", \"door\": \"finger\", \"address\": %q}\n", listener.Addr())
	fmt.Fprintf(os.Stderr, "{\"event\": \"ready\", \"gomaxprocs\": %d}\n", runtime.GOMAXPROCS(0))
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		go handle(conn)
	}
}
