// Go's net/http: the user as JSON, rendered for each request, in plaintext or over TLS (HTTP/1.1).
package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
)

type user struct {
	User    string            `json:"user"`
	Status  string            `json:"status"`
	Name    *string           `json:"name"`
	Since   *string           `json:"since"`
	Until   *string           `json:"until"`
	Details map[string]string `json:"details"`
}

var users = map[string]user{"moshez": {User: "moshez", Status: "Happy and well", Details: map[string]string{}}}

func answer(writer http.ResponseWriter, request *http.Request) {
	found, known := users[request.URL.Path[len("/api/users/"):]]
	if !known {
		http.NotFound(writer, request)
		return
	}
	body, _ := json.Marshal(found)
	header := writer.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-cache")
	writer.Write(body)
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintf(os.Stderr, "{\"event\": \"listening\", \"door\": \"http\", \"address\": %q}\n", listener.Addr())
	fmt.Fprintf(os.Stderr, "{\"event\": \"ready\"}\n")
	http.HandleFunc("/api/users/", answer)
	if len(os.Args) > 2 {
		server := &http.Server{TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}
		server.ServeTLS(listener, os.Args[2], os.Args[2])
		return
	}
	http.Serve(listener, nil)
}
