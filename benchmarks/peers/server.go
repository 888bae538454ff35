// The peer from another language that makes the same promise, blocking code for every connection, cheap: Go's net
// package and one goroutine a connection. It reads into a buffer of its own, not through bufio: fewer allocations.
// GOMAXPROCS is left to the runtime, which counts the cores that the process may run on (here one).
//
// With the argument "log" it writes a line for each query, with the fields of fingertrio's, and in the same way: lines
// wait in memory for a moment, and are written together.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"time"
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

type queryLog struct {
	lock  sync.Mutex
	lines *bufio.Writer
}

func (log *queryLog) run() {
	for range time.Tick(50 * time.Millisecond) {
		log.lock.Lock()
		log.lines.Flush()
		log.lock.Unlock()
	}
}

func (log *queryLog) query(peer net.Addr, asked []byte, began time.Time, size int) {
	host, _, _ := net.SplitHostPort(peer.String())
	took := float64(time.Since(began).Microseconds()) / 1000
	log.lock.Lock()
	fmt.Fprintf(log.lines, "{\"event\": \"query\", \"door\": \"finger\", \"peer\": %q, \"asked\": %q, \"outcome\": \"ok\", "+
		"\"ms\": %.3f, \"bytes\": %d, \"level\": \"info\", \"timestamp\": %q}\n",
		host, asked, took, size, time.Now().UTC().Format(time.RFC3339))
	log.lock.Unlock()
}

func handle(conn net.Conn, log *queryLog) {
	defer conn.Close()
	began := time.Now()
	var query [queryLimit]byte
	have := 0
	for have < len(query) {
		got, err := conn.Read(query[have:])
		have += got
		if end := bytes.Index(query[:have], []byte("\r\n")); end >= 0 {
			status := answer(query[:end])
			conn.Write(status)
			if log != nil {
				log.query(conn.RemoteAddr(), query[:end], began, len(status))
			}
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
	var log *queryLog
	if len(os.Args) > 1 && os.Args[1] == "log" {
		log = &queryLog{lines: bufio.NewWriterSize(os.Stderr, 1<<20)}
		go log.run()
	}
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		go handle(conn, log)
	}
}
