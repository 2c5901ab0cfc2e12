// Sends pushes with the libraries that Gorush is built on until its input ends; deploy/peers/README.md
// tells what it reads and prints.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"sync"
	"sync/atomic"

	"github.com/appleboy/go-fcm"
	"github.com/sideshow/apns2"
	"github.com/sideshow/apns2/payload"
	"github.com/sideshow/apns2/token"

	"firebase.google.com/go/v4/messaging"
)

type settings struct {
	Service     string `json:"service"`
	URL         string `json:"url"`
	Topic       string `json:"topic"`
	KeyFile     string `json:"key_file"`
	KeyID       string `json:"key_id"`
	TeamID      string `json:"team_id"`
	AccountFile string `json:"account_file"`
	Title       string `json:"title"`
	Body        string `json:"body"`
	InFlight    int    `json:"in_flight"`
	Devices     uint64 `json:"devices"`
}

// Sends one push and says whether it was accepted.
type push func(number uint64) bool

func main() {
	input := bufio.NewReader(os.Stdin)
	line, err := input.ReadBytes('\n')
	if err != nil {
		log.Fatal(err)
	}
	var s settings
	if err := json.Unmarshal(line, &s); err != nil {
		log.Fatal(err)
	}
	var stopping atomic.Bool
	go func() {
		_, _ = input.ReadByte()
		stopping.Store(true)
	}()
	send, err := apns(s), error(nil)
	if s.Service == "fcm" {
		send, err = firebase(s)
	}
	if err != nil {
		log.Fatal(err)
	}
	var sent, delivered atomic.Uint64
	one := func() {
		if send(sent.Add(1)) {
			delivered.Add(1)
		}
	}
	// A connection takes one request until the first has been answered.
	one()
	var workers sync.WaitGroup
	for range s.InFlight {
		workers.Go(func() {
			for !stopping.Load() {
				one()
			}
		})
	}
	workers.Wait()
	fmt.Printf("{\"sent\":%d,\"delivered\":%d}\n", sent.Load(), delivered.Load())
}

func data(number uint64) map[string]string {
	id := fmt.Sprint(number)
	return map[string]string{"id": id, "event_id": "evt" + id, "source": "bench", "type": "like"}
}

func apns(s settings) push {
	if s.Service != "apns" {
		return nil
	}
	key, err := token.AuthKeyFromFile(s.KeyFile)
	if err != nil {
		log.Fatal(err)
	}
	client := apns2.NewTokenClient(&token.Token{AuthKey: key, KeyID: s.KeyID, TeamID: s.TeamID})
	client.Host = s.URL
	return func(number uint64) bool {
		content := payload.NewPayload().AlertTitle(s.Title).AlertBody(s.Body).Badge(1).Sound("default")
		answer, err := client.Push(&apns2.Notification{
			DeviceToken: fmt.Sprintf("%064x", number%s.Devices),
			Topic:       s.Topic,
			PushType:    apns2.PushTypeAlert,
			Payload:     content.Custom("tidings", data(number)),
		})
		return err == nil && answer.Sent()
	}
}

func firebase(s settings) (push, error) {
	ctx := context.Background()
	client, err := fcm.NewClient(
		ctx, fcm.WithCredentialsFile(s.AccountFile), fcm.WithEndpoint(s.URL+"/v1"))
	if err != nil {
		return nil, err
	}
	return func(number uint64) bool {
		answer, err := client.Send(ctx, &messaging.Message{
			Token:        fmt.Sprintf("device-%064x", number%s.Devices),
			Notification: &messaging.Notification{Title: s.Title, Body: s.Body},
			Data:         data(number),
			Android:      &messaging.AndroidConfig{Priority: "high"},
		})
		return err == nil && answer.FailureCount == 0
	}, nil
}
