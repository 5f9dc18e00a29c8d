// Command pubsub-emulator serves Google's own in-memory Pub/Sub (pstest, of the Go client library) over gRPC.
//
//	pubsub-emulator PORT
package main

import (
	"log"
	"os"
	"os/signal"
	"syscall"

	"cloud.google.com/go/pubsub/v2/pstest"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("say: pubsub-emulator PORT")
	}
	server := pstest.NewServerWithAddress("127.0.0.1:" + os.Args[1])
	defer server.Close()
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	<-end
}
