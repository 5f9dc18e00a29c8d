// Command pubsub-emulator serves Google's own in-memory Pub/Sub (pstest, of the Go client library) over gRPC, and, over
// HTTP on a second port, what subscribers have done with each message.
//
//	pubsub-emulator PORT HTTP-PORT
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"

	"cloud.google.com/go/pubsub/v2/pstest"
)

type told struct {
	ID         string
	Topic      string
	Deliveries int
	Acks       int
	Deadlines  []int32
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("say: pubsub-emulator PORT HTTP-PORT")
	}
	server := pstest.NewServerWithAddress("127.0.0.1:" + os.Args[1])
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[2], http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		all := []told{}
		for _, m := range server.Messages() {
			one := told{ID: m.ID, Topic: m.Topic, Deliveries: m.Deliveries, Acks: m.Acks, Deadlines: []int32{}}
			for _, each := range m.Modacks {
				one.Deadlines = append(one.Deadlines, each.AckDeadline)
			}
			all = append(all, one)
		}
		if err := json.NewEncoder(w).Encode(all); err != nil {
			log.Print(err)
		}
	})))
}
