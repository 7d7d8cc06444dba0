package http

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/quorate/quorate/coordinator"
)

// maxDocument bounds the JSON documents that clients send: 1,024 fault rules are about 200 KiB.
const maxDocument = 512 << 10

// refuseParam is eachParam's argument where there are no parameters.
func refuseParam(name, _ string) error { return unknownParam(name) }

// readDocument reads a JSON document of a client, within the time and size of one.
func readDocument(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxDocument))
	var tooMuch *http.MaxBytesError
	if errors.As(err, &tooMuch) {
		return nil, codeProblem(coordinator.TooLarge, "a document has at most "+strconv.Itoa(maxDocument)+" bytes")
	}
	return body, bodyError(err)
}

func writeJSON(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return writeDocument(w, body)
}

func writeDocument(w http.ResponseWriter, body []byte) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
	_, _ = w.Write(append(body, '\n')) // a client that is gone is no concern of ours
	return nil
}

func writeText(w http.ResponseWriter, text string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(text))
	return nil
}
