// A Go service that reads a delivery in a wrong way. The path `/as/KIND` chooses how. Each response
// says what the service has: the headers and the body. The process prints its port and ends with
// its input.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sort"
	"strings"
)

// An event of Zoom, with the members that the service uses.
type meeting struct {
	Payload struct {
		Object struct {
			Topic    string `json:"topic"`
			ID       string `json:"id"`
			Duration int    `json:"duration"`
			Password string `json:"password"`
		} `json:"object"`
		AccountID string `json:"account_id"`
	} `json:"payload"`
	Event string `json:"event"`
}

// An event of BeatAPI in the order in which BeatAPI sends it. The data stay as they are.
type task struct {
	ID        string          `json:"id"`
	Event     string          `json:"event"`
	CreatedAt int64           `json:"created_at"`
	Data      json.RawMessage `json:"data"`
	Attempt   int             `json:"attempt,omitempty"`
	Source    *string         `json:"source"`
}

func rewrite(kind string, raw []byte, form url.Values) []byte {
	var any interface{}
	var out bytes.Buffer
	switch kind {
	case "map":
		must(json.Unmarshal(raw, &any))
		return marshal(any)
	case "map-number":
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		must(decoder.Decode(&any))
		return marshal(any)
	case "encoder":
		must(json.Unmarshal(raw, &any))
		must(json.NewEncoder(&out).Encode(any))
	case "meeting":
		var event meeting
		must(json.Unmarshal(raw, &event))
		return marshal(event)
	case "task":
		var event task
		must(json.Unmarshal(raw, &event))
		return marshal(event)
	case "raw-message":
		return marshal(json.RawMessage(raw))
	case "indent":
		must(json.Indent(&out, raw, "", "\t"))
	case "compact":
		must(json.Compact(&out, raw))
	case "html-escape":
		json.HTMLEscape(&out, raw)
	case "bytes":
		return marshal(raw)
	case "values":
		return []byte(form.Encode())
	case "form-json":
		return marshal(form)
	case "quote":
		fmt.Fprintf(&out, "%q", raw)
	case "html":
		out.WriteString(html.EscapeString(string(raw)))
	case "query-escape":
		out.WriteString(url.QueryEscape(string(raw)))
	case "limit":
		io.Copy(&out, io.LimitReader(bytes.NewReader(raw), 128))
	case "raw":
		return raw
	}
	return out.Bytes()
}

func receive(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	must(err)
	form, _ := url.ParseQuery(string(raw))
	body := rewrite(strings.TrimPrefix(r.URL.Path, "/as/"), raw, form)
	headers := [][]string{{"Host", r.Host}}
	for name, values := range r.Header {
		for _, value := range values {
			headers = append(headers, []string{name, value})
		}
	}
	// The order of a map is random.
	sort.SliceStable(headers, func(a, b int) bool { return headers[a][0] < headers[b][0] })
	w.Write(marshal(map[string]interface{}{"headers": headers, "body": body, "url": nil, "method": r.Method}))
}

func marshal(value interface{}) []byte {
	out, err := json.Marshal(value)
	must(err)
	return out
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	go http.Serve(listener, http.HandlerFunc(receive))
	fmt.Printf("{\"go\":%d}\n", listener.Addr().(*net.TCPAddr).Port)
	io.Copy(io.Discard, os.Stdin)
}
