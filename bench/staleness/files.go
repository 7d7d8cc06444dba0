package staleness

import (
	"encoding/json"
	"errors"
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

// Save writes the log, and the results and the picture if there are results, into a directory that exists. It returns the names of the files.
func Save(dir string, r *Results, log history.Log) ([]string, error) {
	if err := saveLog(filepath.Join(dir, LogFile), log); err != nil {
		return nil, err
	}
	if r == nil {
		return []string{LogFile}, nil
	}
	document, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode results: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, ResultsFile), append(document, '\n'), 0o644); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, PictureFile), r.SVG(), 0o644); err != nil {
		return nil, err
	}
	return []string{ResultsFile, LogFile, PictureFile}, nil
}

func saveLog(path string, log history.Log) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := history.Encode(file, log); err != nil {
		return fmt.Errorf("write the log: %w", err)
	}
	return nil
}
