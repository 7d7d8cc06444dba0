package staleness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/quorate/quorate/internal/history"
)

// The files of a run.
const (
	ResultsFile = "results.json"
	LogFile     = "ops.ndjson"
	PictureFile = "staleness.svg"
)

// Save writes the results, the log and the picture into a directory that exists.
func Save(dir string, r *Results, log history.Log) error {
	document, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	var ops bytes.Buffer
	if err := history.Encode(&ops, log); err != nil {
		return fmt.Errorf("encode the log: %w", err)
	}
	for _, file := range []struct {
		name string
		text []byte
	}{{ResultsFile, append(document, '\n')}, {LogFile, ops.Bytes()}, {PictureFile, r.SVG()}} {
		if err := os.WriteFile(filepath.Join(dir, file.name), file.text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
