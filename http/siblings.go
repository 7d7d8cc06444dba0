package http

import (
	"bytes"
	"encoding/json"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/quorate/quorate/version"
)

// Sibling is one of several concurrent values, as a 300 lists them.
type Sibling struct {
	Value       []byte    `json:"value"`
	ContentType string    `json:"content_type"`
	ETag        string    `json:"etag"`
	Timestamp   time.Time `json:"timestamp"`
}

func siblingOf(v *version.Version) Sibling {
	return Sibling{Value: v.Value, ContentType: contentTypeOf(v), ETag: version.ETag(version.Record{Versions: []version.Version{*v}}),
		Timestamp: v.Stamp.Wall()}
}

// writeSiblings answers 300 with all live values, in the form that the client prefers.
func writeSiblings(w http.ResponseWriter, r *http.Request, rec version.Record) error {
	encode := siblingsJSON
	if prefersMultipart(r.Header["Accept"]) {
		encode = siblingsMultipart
	}
	body, contentType, err := encode(rec)
	if err != nil {
		return err
	}
	h := newHeaderWriter(w)
	h.set("Content-Type", contentType)
	h.set("X-Content-Type-Options", "nosniff")
	h.set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusMultipleChoices)
	writeBody(w, body)
	return nil
}

func siblingsJSON(rec version.Record) (body []byte, contentType string, err error) {
	var list struct {
		Siblings []Sibling `json:"siblings"`
	}
	for v := range rec.Live() {
		list.Siblings = append(list.Siblings, siblingOf(&v))
	}
	body, err = json.Marshal(list)
	return append(body, '\n'), "application/json", err
}

func siblingsMultipart(rec version.Record) (body []byte, contentType string, err error) {
	var b bytes.Buffer
	parts := multipart.NewWriter(&b)
	for v := range rec.Live() {
		s := siblingOf(&v)
		part, err := parts.CreatePart(textproto.MIMEHeader{
			"Content-Type":      {s.ContentType},
			"ETag":              {s.ETag},
			"Last-Modified":     {lastModified(v.Stamp)},
			"Quorate-Timestamp": {s.Timestamp.Format(time.RFC3339Nano)},
		})
		if err != nil {
			return nil, "", err
		}
		if _, err := part.Write(s.Value); err != nil {
			return nil, "", err
		}
	}
	err = parts.Close()
	return b.Bytes(), "multipart/mixed; boundary=" + parts.Boundary(), err
}

// prefersMultipart reads an Accept header: multipart/mixed must be named, and JSON not be wanted more.
func prefersMultipart(accept []string) bool {
	named, json := 0.0, 0.0
	exact := false // JSON was named itself, which counts before its wildcards
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		mediaType, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q := quality(params)
		switch mediaType {
		case "multipart/mixed":
			named = q
		case "application/json":
			json, exact = q, true
		case "application/*", "*/*":
			if !exact {
				json = max(json, q)
			}
		}
	}
	return named > 0 && named >= json
}

// quality is the weight of one media type, 1 if it has none, 0 if it has one that cannot be read.
func quality(params map[string]string) float64 {
	text, ok := params["q"]
	if !ok {
		return 1
	}
	q, err := strconv.ParseFloat(text, 64)
	if err != nil || !(q >= 0 && q <= 1) {
		return 0
	}
	return q
}
