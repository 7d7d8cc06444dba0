package http

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/quorate/quorate/coordinator"
)

// refusalHead is what net/http writes between the status line and the text when it refuses a request that no handler
// ever sees. Its own headers of an ordinary answer stand in another order, so nothing else looks like it.
const refusalHead = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"

// translated gives the problem document that stands for a refusal of net/http, nil for anything else with which an
// answer begins. net/http writes a refusal in one piece.
func translated(b []byte) []byte {
	const version, line = "HTTP/1.1 ", len("HTTP/1.1 400")
	if len(b) < line+len(refusalHead) || (b[len(version)] != '4' && b[len(version)] != '5') {
		return nil
	}
	first, text, found := bytes.Cut(b, []byte(refusalHead))
	if !found || bytes.IndexByte(first, '\n') >= 0 {
		return nil
	}
	status, err := strconv.Atoi(string(b[len(version):line]))
	if err != nil {
		return nil
	}
	return refusal(status, string(text))
}

// refusal is a whole answer: whatever the request was, nothing of it was looked at.
func refusal(status int, text string) []byte {
	p := badRequest("no valid HTTP request: " + text)
	switch status {
	case http.StatusBadRequest:
	case http.StatusRequestHeaderFieldsTooLarge:
		p = ownProblem(nameHeaderTooLarge, "request line and headers have at most 64 KiB together")
	case http.StatusNotImplemented:
		p = codeProblem(coordinator.NotImplemented, text)
	default:
		p.Status = status
	}
	p.Outcome = outcomeNotWritten
	return wholeAnswer(p)
}

// wholeAnswer is a problem as it goes over a connection that ends with it, for where there is no ResponseWriter.
func wholeAnswer(p *Problem) []byte {
	body, err := json.Marshal(p)
	if err != nil {
		panic("http: a problem that is no JSON: " + err.Error())
	}
	b := fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n",
		p.Status, http.StatusText(p.Status), len(body)+1)
	if p.retryAfter > 0 {
		b = fmt.Appendf(b, "Retry-After: %d\r\n", p.retrySeconds())
	}
	return fmt.Appendf(b, "\r\n%s\n", body)
}
